"""The thinking: values in, values out. No Trio, clock, socket or database in here."""
