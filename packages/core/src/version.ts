import manifest from '../package.json' with { type: 'json' }

/** The version of this package, written into each process row. */
export const version: string = manifest.version
