-- The tables of the store. What stands in an executable comment is for MySQL and MariaDB alone; SQLite passes over it.
-- Amounts are decimal digits with leading zeros, as many as 2**256-1 has: exact, and in the order of their values.

CREATE TABLE scan_block (
    asset VARCHAR(32) NOT NULL,
    height BIGINT NOT NULL,
    hash VARCHAR(100) NOT NULL,
    parent VARCHAR(100) NOT NULL,
    PRIMARY KEY (asset, height)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE deposit (
    chain VARCHAR(32) NOT NULL,
    txid VARCHAR(100) NOT NULL,
    n BIGINT NOT NULL,
    asset VARCHAR(32) NOT NULL,
    account BIGINT NOT NULL,
    address VARCHAR(200) NOT NULL,
    amount CHAR(78) NOT NULL,
    height BIGINT NOT NULL,
    block_hash VARCHAR(100) NOT NULL,
    state VARCHAR(20) NOT NULL,
    reason VARCHAR(500) NOT NULL,
    units BIGINT,
    receipt VARCHAR(100) NOT NULL,
    seen_ns BIGINT NOT NULL,
    updated_ns BIGINT NOT NULL,
    PRIMARY KEY (chain, txid, n)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE INDEX deposit_by_state ON deposit (asset, state, height);
CREATE INDEX deposit_by_account ON deposit (account, seen_ns);

CREATE TABLE dust (
    chain VARCHAR(32) NOT NULL,
    txid VARCHAR(100) NOT NULL,
    n BIGINT NOT NULL,
    asset VARCHAR(32) NOT NULL,
    amount CHAR(78) NOT NULL,
    PRIMARY KEY (chain, txid, n),
    FOREIGN KEY (chain, txid, n) REFERENCES deposit (chain, txid, n)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE INDEX dust_by_asset ON dust (asset);

CREATE TABLE address (
    chain VARCHAR(32) NOT NULL,
    position BIGINT NOT NULL,
    address VARCHAR(200) NOT NULL,
    account BIGINT NOT NULL,
    PRIMARY KEY (chain, position)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE UNIQUE INDEX address_by_address ON address (chain, address);

CREATE TABLE withdrawal (
    id VARCHAR(100) NOT NULL,
    chain VARCHAR(32) NOT NULL,
    asset VARCHAR(32) NOT NULL,
    account BIGINT NOT NULL,
    address VARCHAR(200) NOT NULL,
    amount CHAR(78) NOT NULL,
    withdraw_order_id VARCHAR(200) NOT NULL,
    units BIGINT NOT NULL,
    fee_units BIGINT NOT NULL,
    state VARCHAR(20) NOT NULL,
    reason VARCHAR(500) NOT NULL,
    txid VARCHAR(100) NOT NULL,
    height BIGINT,
    block_hash VARCHAR(100) NOT NULL,
    receipt VARCHAR(100) NOT NULL,
    requested_ns BIGINT NOT NULL,
    updated_ns BIGINT NOT NULL,
    PRIMARY KEY (id)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE INDEX withdrawal_by_state ON withdrawal (chain, state, requested_ns);
CREATE INDEX withdrawal_by_account ON withdrawal (account, requested_ns);
CREATE INDEX withdrawal_by_asset ON withdrawal (asset, requested_ns);

CREATE TABLE approval (
    withdrawal_id VARCHAR(100) NOT NULL,
    operator VARCHAR(100) NOT NULL,
    position BIGINT NOT NULL,
    approved_ns BIGINT NOT NULL,
    PRIMARY KEY (withdrawal_id, operator),
    FOREIGN KEY (withdrawal_id) REFERENCES withdrawal (id)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE withdrawal_tx (
    chain VARCHAR(32) NOT NULL,
    txid VARCHAR(100) NOT NULL,
    withdrawal_id VARCHAR(100) NOT NULL,
    position BIGINT NOT NULL,
    raw MEDIUMTEXT NOT NULL,
    fee CHAR(78) NOT NULL,
    sender VARCHAR(100) NOT NULL,
    nonce BIGINT,
    signed_ns BIGINT NOT NULL,
    PRIMARY KEY (chain, txid),
    FOREIGN KEY (withdrawal_id) REFERENCES withdrawal (id)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE UNIQUE INDEX withdrawal_tx_by_withdrawal ON withdrawal_tx (withdrawal_id, position);

CREATE TABLE tx_input (
    chain VARCHAR(32) NOT NULL,
    txid VARCHAR(100) NOT NULL,
    position BIGINT NOT NULL,
    output_txid VARCHAR(100) NOT NULL,
    output_n BIGINT NOT NULL,
    PRIMARY KEY (chain, txid, position),
    FOREIGN KEY (chain, txid) REFERENCES withdrawal_tx (chain, txid)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE INDEX tx_input_by_output ON tx_input (output_txid, output_n);

CREATE TABLE utxo (
    asset VARCHAR(32) NOT NULL,
    txid VARCHAR(100) NOT NULL,
    n BIGINT NOT NULL,
    address VARCHAR(200) NOT NULL,
    amount CHAR(78) NOT NULL,
    height BIGINT NOT NULL,
    reserved_by VARCHAR(100) NOT NULL,
    spent_txid VARCHAR(100) NOT NULL,
    spent_height BIGINT,
    PRIMARY KEY (asset, txid, n)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE INDEX utxo_by_spender ON utxo (asset, spent_txid);
CREATE INDEX utxo_by_withdrawal ON utxo (asset, reserved_by);

CREATE TABLE nonce (
    chain VARCHAR(32) NOT NULL,
    sender VARCHAR(100) NOT NULL,
    nonce BIGINT NOT NULL,
    withdrawal_id VARCHAR(100) NOT NULL,
    PRIMARY KEY (chain, sender, nonce),
    FOREIGN KEY (withdrawal_id) REFERENCES withdrawal (id)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE frozen_chain (
    chain VARCHAR(32) NOT NULL,
    reason VARCHAR(500) NOT NULL,
    since_ns BIGINT NOT NULL,
    PRIMARY KEY (chain)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE whitelist (
    account BIGINT NOT NULL,
    chain VARCHAR(32) NOT NULL,
    address VARCHAR(200) NOT NULL,
    added_ns BIGINT NOT NULL,
    PRIMARY KEY (account, chain, address)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE sweep (
    asset VARCHAR(32) NOT NULL,
    txid VARCHAR(100) NOT NULL,
    address VARCHAR(200) NOT NULL,
    amount CHAR(78) NOT NULL,
    fee CHAR(78) NOT NULL,
    height BIGINT NOT NULL,
    swept_ns BIGINT NOT NULL,
    PRIMARY KEY (asset, txid, address)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE INDEX sweep_by_time ON sweep (asset, swept_ns);

CREATE TABLE candle (
    symbol VARCHAR(64) NOT NULL,
    interval_ns BIGINT NOT NULL,
    open_ns BIGINT NOT NULL,
    open_price BIGINT NOT NULL,
    high_price BIGINT NOT NULL,
    low_price BIGINT NOT NULL,
    close_price BIGINT NOT NULL,
    volume BIGINT NOT NULL,
    quote_volume BIGINT NOT NULL,
    trades BIGINT NOT NULL,
    PRIMARY KEY (symbol, interval_ns, open_ns)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE mark (
    name VARCHAR(64) NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (name)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE audit (
    id VARCHAR(100) NOT NULL,
    time_ns BIGINT NOT NULL,
    month BIGINT NOT NULL,
    kind VARCHAR(32) NOT NULL,
    who VARCHAR(100) NOT NULL,
    account BIGINT,
    what VARCHAR(2000) NOT NULL,
    outcome VARCHAR(1000) NOT NULL,
    PRIMARY KEY (id)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE INDEX audit_by_time ON audit (time_ns);
CREATE INDEX audit_by_month ON audit (month);
CREATE INDEX audit_by_account ON audit (account, time_ns);
