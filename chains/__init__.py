"""Bitcoin and Ethereum: nodes, scanners, wallets and the state machines of deposits and withdrawals."""
