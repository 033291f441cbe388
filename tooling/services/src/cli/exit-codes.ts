export const EXIT = {
  usage: 2,
  /** EX_UNAVAILABLE of sysexits.h. */
  unavailable: 69,
  /** As a shell's. */
  cannotRun: 127,
  signal: 128,
} as const
