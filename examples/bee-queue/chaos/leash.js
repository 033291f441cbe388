// Loaded into every process that chaos.js starts: when that is gone, even by `kill -9`, so are they.
process.on('disconnect', () => process.exit())
process.channel?.unref()
