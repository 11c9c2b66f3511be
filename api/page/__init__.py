"""The pages that people see: HTML that the server makes, and small modules of JavaScript that keep it up to date."""
