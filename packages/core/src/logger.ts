/** Where the monitor writes what a person should read. `console` fits, and so do pino, winston and the like. */
export interface Logger {
  warn(message: string): void
  error(message: string): void
}

/** Warnings and errors go to stderr, so that nothing that fails stays unseen. */
export const stderrLogger: Logger = {
  warn: (message) => console.warn(`[holdfast] ${message}`),
  error: (message) => console.error(`[holdfast] ${message}`),
}
