// Loaded into every process that a chaos script starts: when that is gone, even by `kill -9`, so are they.
process.on('disconnect', () => process.exit())
process.channel?.unref()
