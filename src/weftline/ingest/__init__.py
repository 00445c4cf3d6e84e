"""The road: frames → decode → contract plan → group → lake → announce; quarantine, replay, ledger, admission."""
