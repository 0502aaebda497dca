// Start the page.
