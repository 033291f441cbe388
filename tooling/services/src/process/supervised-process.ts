import type { Exit } from './protocol.js'

/** A process that the supervisor started for us. */
export class SupervisedProcess {
  readonly pid: number
  readonly exited: Promise<Exit>
  exit: Exit | undefined
  readonly #settle: (exit: Exit) => void

  constructor(pid: number) {
    this.pid = pid
    const { promise, resolve } = withResolvers<Exit>()
    this.exited = promise
    this.#settle = resolve
  }

  /** Called once, by the supervisor's client. */
  markExited(exit: Exit): void {
    this.exit = exit
    this.#settle(exit)
  }
}

export function describeExit(exit: Exit): string {
  if (exit.signal) return `was ended by ${exit.signal}`
  return exit.code === null ? 'was lost with its supervisor' : `exited with code ${exit.code}`
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
