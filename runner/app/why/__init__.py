"""The answer to "why did it not trade?": gathered from a run or its journal, put into words."""
