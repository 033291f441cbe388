import { AsyncLocalStorage } from 'node:async_hooks'

/** Leaves the place that was taken. */
export type Leave = () => void

interface Waiter {
  readonly alone: boolean
  admit(): void
}

/** Milliseconds that tasks wait for one another at most. */
export interface Patience {
  /** Ordinary tasks for a suspect. @default 60 s */
  readonly ordinary: number
  /** A suspect for the others to end. @default 10 min */
  readonly suspect: number
}

const PATIENCE: Patience = { ordinary: 60_000, suspect: 600_000 }

/**
 * Keeps suspects apart: a job that was in flight in two dying processes shares its process with no other task, so that
 * whoever kills it next is known. Ordinary tasks wait while a suspect runs or waits for the others to end; suspects and
 * ordinary tasks take turns. Nobody waits for ever: who is waited for may be waiting for it in turn.
 */
export class Isolation {
  readonly #inside = new AsyncLocalStorage<true>()
  readonly #patience: Patience
  #together = 0
  /** More than one only where one has lost its patience. */
  #alone = 0
  #waiting: Waiter[] = []

  constructor(patience: Patience = PATIENCE) {
    this.#patience = patience
  }

  /** Takes a place beside other ordinary tasks, unless one of `signals` aborts first. Work in `within` never waits: it would wait for itself. */
  enter(signals: readonly AbortSignal[]): Promise<Leave> {
    if (this.#inside.getStore()) return Promise.resolve(() => undefined)
    if (this.#alone === 0 && this.#waiting.length === 0) return Promise.resolve(this.#join())
    return this.#wait(false, signals)
  }

  /** Takes the process for one task alone. */
  enterAlone(signals: readonly AbortSignal[]): Promise<Leave> {
    if (this.#inside.getStore()) return Promise.resolve(() => undefined)
    return this.#wait(true, signals)
  }

  /** Runs a task's work, so that what it registers in turn is not kept waiting for it. */
  within<T>(work: () => Promise<T>): Promise<T> {
    return this.#inside.run(true, work)
  }

  #join(): Leave {
    this.#together += 1
    return once(() => {
      this.#together -= 1
      this.#admit()
    })
  }

  #takeAlone(): Leave {
    this.#alone += 1
    return once(() => {
      this.#alone -= 1
      // Ordinary tasks that waited come first, or a row of suspects would keep them out for long.
      this.#waiting.sort((a, b) => Number(a.alone) - Number(b.alone))
      this.#admit()
    })
  }

  #wait(alone: boolean, signals: readonly AbortSignal[]): Promise<Leave> {
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined
      const leaveQueue = (): void => {
        clearTimeout(timer)
        for (const signal of signals) signal.removeEventListener('abort', abort)
        this.#waiting = this.#waiting.filter((other) => other !== waiter)
      }
      const abort = (): void => {
        leaveQueue()
        this.#admit()
        reject(signals.find(({ aborted }) => aborted)!.reason)
      }
      const waiter: Waiter = {
        alone,
        admit: () => {
          leaveQueue()
          resolve(alone ? this.#takeAlone() : this.#join())
        },
      }
      for (const signal of signals) {
        if (signal.aborted) return abort()
        signal.addEventListener('abort', abort)
      }
      const { ordinary, suspect } = this.#patience
      timer = setTimeout(
        () => {
          waiter.admit()
          this.#admit()
        },
        alone ? suspect : ordinary,
      )
      this.#waiting.push(waiter)
      this.#admit()
    })
  }

  /** Lets in whoever is first, and all that may be in beside it. */
  #admit(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (this.#alone > 0 || (first.alone && this.#together > 0)) return
      first.admit()
    }
  }
}

function once(work: () => void): Leave {
  let done = false
  return () => {
    if (done) return
    done = true
    work()
  }
}
