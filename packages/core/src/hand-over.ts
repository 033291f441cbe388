import type { QueueAdapter } from './adapter.js'
import type { Events } from './events.js'
import type { Incarnation } from './incarnation.js'
import type { Recovery } from './recovery/recovery.js'
import { deleteEmptyProcesses, releaseProcess } from './store/processes.js'
import type { Store } from './store/store.js'
import { givenBackOwner } from './store/tasks.js'

export interface HandOverParts {
  readonly store: Store
  readonly events: Events
  readonly adapters: readonly QueueAdapter[]
  readonly recovery: Recovery
}

/** The recovery of one owner, and the one that follows it. */
interface Recovering {
  done: Promise<void>
  next: Promise<void> | undefined
}

/** Recovers at once what this process gives back alive, rather than with the next sweep. */
export class HandOver {
  readonly #parts: HandOverParts
  readonly #underWay = new Map<string, Recovering>()

  constructor(parts: HandOverParts) {
    this.#parts = parts
  }

  /**
   * Recovers the tasks of an owner that is not alive. Never rejects: the next sweep does what fails here. What is under way
   * for it may have passed its latest task over: so whoever comes meanwhile waits for another, which they share.
   */
  recover(processId: string, state: 'released' | null = null): Promise<void> {
    const running = this.#underWay.get(processId)
    if (running === undefined) return this.#begin(processId, state)
    running.next ??= running.done.then(() => this.#begin(processId, state))
    return running.next
  }

  #begin(processId: string, state: 'released' | null): Promise<void> {
    const running: Recovering = { done: this.#recover(processId, state), next: undefined }
    this.#underWay.set(processId, running)
    const done = running.done.then(() => {
      if (running.next === undefined) this.#underWay.delete(processId)
    })
    running.done = done
    return done
  }

  async #recover(processId: string, state: 'released' | null): Promise<void> {
    const { adapters, recovery, events } = this.#parts
    try {
      for (const adapter of adapters) {
        await recovery.recoverOwner({ processId, state, orphanedForMs: null }, { adapter })
      }
    } catch (error) {
      events.fail(`could not recover what ${processId} gave back; the next sweep does`, error)
    }
  }

  /** Carries out writes whose outcome was unknown, until it is known. */
  async settle(incarnation: Incarnation): Promise<void> {
    const { events } = this.#parts
    try {
      await incarnation.settle((owner) => this.recover(owner))
    } catch (error) {
      events.fail('could not settle writes of unknown outcome; the next heartbeat tries again', error)
    }
  }

  /** Takes a process of ours that beats no more off the list, and recovers what it still held. */
  async leave(processId: string): Promise<void> {
    const { store } = this.#parts
    await releaseProcess(store, processId)
    await this.recover(processId, 'released')
    // What was given back one by one just now may be under way still.
    await Promise.all([...this.#underWay.values()].map(({ done, next }) => next ?? done))
    await this.recover(givenBackOwner(processId, 'release'))
    await deleteEmptyProcesses(store)
  }
}
