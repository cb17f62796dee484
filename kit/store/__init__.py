"""Files that are whole or not there: artifacts, built things, tables, locks between processes."""
