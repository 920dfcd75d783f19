"""The enforcement point: the stages between topics, on one transactional runner."""
