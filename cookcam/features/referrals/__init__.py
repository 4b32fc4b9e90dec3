"""Which creator brought a user: `spec/client-contract.md` §8.1."""
