import { setTimeout as delay } from 'node:timers/promises'
import type { BeeJobInternals, BeeQueueInternals, BlockingClient } from './bee-queue.js'

/** How often a pop is called off, every 2 ms or more, before it is cut off all the same. */
const MAX_TRIES = 500

/** Nobody goes on from here: what was popped is given back, or nothing was. */
const never = <T>(): Promise<T> => new Promise(() => undefined)

export interface PopsParts {
  /** bee-queue is about to call its handler with it. */
  onPop(job: BeeJobInternals): void
  /** Puts an id back that was popped and not begun. */
  giveBack(id: string): Promise<void>
  /** Has the pop of this connection of Redis's come back empty. */
  unblock(clientId: string): Promise<void>
}

/**
 * Sees to it that no job is left between bee-queue's pop and its handler when a queue stops: what a pop still brings is
 * given back, and the connection is cut only when no pop is under way. bee-queue itself leaves such jobs among the
 * active ones.
 */
export class Pops {
  readonly #parts: PopsParts
  readonly #givenBack: Promise<void>[] = []
  #clientId: string | undefined
  #underWay = 0
  #halting: Promise<void> | undefined

  constructor(queue: BeeQueueInternals, parts: PopsParts) {
    this.#parts = parts
    const next = queue._getNextJob
    queue._getNextJob = async () => {
      if (this.#halting !== undefined) return never()
      const job = await next.call(queue)
      // bee-queue drops it when it is closing.
      if (job === null) return job
      if (!queue.paused && this.#halting === undefined) {
        parts.onPop(job)
        return job
      }
      this.#giveBack(job.id)
      return never()
    }
  }

  /** Called once the queue is connected. */
  attach(client: BlockingClient): void {
    const pop = client.brpoplpush
    client.brpoplpush = (from, to, timeout, popped) => {
      this.#underWay += 1
      return pop.call(client, from, to, timeout, (error, id) => {
        this.#underWay -= 1
        if (this.#halting === undefined) popped(error, id)
        else if (typeof id === 'string') this.#giveBack(id)
      })
    }
    // bee-queue's `close()` cuts it off with pops under way.
    const cutOff = client.disconnect === undefined ? 'end' : 'disconnect'
    const cut = client[cutOff] as (flush?: boolean) => void
    client[cutOff] = (flush?: boolean) => void this.halt().then(() => cut.call(client, flush))
    const ask = (): void =>
      void client.client('id', (_: unknown, id: unknown) => (this.#clientId = String(id)))
    client.on('ready', ask)
    ask()
  }

  /** Takes no more jobs. Resolves when none is under way any more. */
  halt(): Promise<void> {
    this.#halting ??= this.#halt()
    return this.#halting
  }

  async #halt(): Promise<void> {
    // Each of the queue's workers waits in line on the one connection: they come back one by one.
    let left = this.#underWay
    for (let tries = 0; this.#underWay > 0 && tries < MAX_TRIES; tries++) {
      if (this.#clientId !== undefined) await this.#parts.unblock(this.#clientId)
      await delay(2)
      if (this.#underWay < left) tries = 0
      left = this.#underWay
    }
    await Promise.all(this.#givenBack)
  }

  #giveBack(id: string): void {
    this.#givenBack.push(this.#parts.giveBack(id))
  }
}
