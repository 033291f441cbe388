import { setTimeout as delay } from 'node:timers/promises'
import type { Child } from '../child.js'
import { note } from './ledger.js'

/** Milliseconds in which a worker must have stopped. */
const STOP_WITHIN = 20_000

/** The place of a worker. */
export interface Slot {
  child: Child
  harmed: boolean
}

export interface FleetOptions {
  readonly size: number
  readonly startWorker: () => Child
  readonly log: (text: string) => void
}

/** The workers. Each one that ends is started again at once, as a supervisor would. */
export class Fleet {
  readonly #startWorker: () => Child
  readonly #log: (text: string) => void
  readonly #slots: readonly Slot[]
  #ending = false

  constructor({ size, startWorker, log }: FleetOptions) {
    this.#startWorker = startWorker
    this.#log = log
    this.#slots = Array.from({ length: size }, () => this.#keepUp({} as Slot))
  }

  /** Those that nobody harms at the moment. */
  get unharmed(): Slot[] {
    return this.#slots.filter(({ harmed, child }) => !harmed && isAlive(child))
  }

  async stop(): Promise<void> {
    this.#ending = true
    await Promise.all(
      this.#slots.map(async ({ child }) => {
        child.process.kill('SIGTERM')
        if (await endsInTime(child)) return
        this.#log(`worker ${child.pid} did not stop in time. It wrote:\n${child.output}`)
        await child.kill()
      }),
    )
  }

  #keepUp(slot: Slot): Slot {
    const child = this.#startWorker()
    Object.assign(slot, { child, harmed: false })
    void child.exited.then(async ({ code }) => {
      if (this.#ending) return
      // As one does that starts while its database is away, or that hears that it was declared dead.
      if (!slot.harmed) {
        note('died', { worker: child.pid })
        this.#log(`worker ${child.pid} ended by itself (${code}): ${firstError(child.output)}`)
        await delay(200)
      }
      this.#keepUp(slot)
    })
    return slot
  }
}

/** Whether a worker that was told to stop has ended before anyone loses patience. */
export const endsInTime = async (child: Child): Promise<boolean> =>
  (await Promise.race([child.exited, delay(STOP_WITHIN, 'late', { ref: false })])) !== 'late'

const isAlive = ({ process }: Child): boolean => process.exitCode === null && process.signalCode === null

function firstError(text: string): string {
  const lines = text.trim().split('\n')
  return lines.find((line) => /Error:/.test(line)) ?? lines.at(-1)!
}
