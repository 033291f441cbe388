import { setTimeout as delay } from 'node:timers/promises'
import { readSnapshot, type Snapshot } from './database/snapshot.js'
import type { Kill } from './kill.js'
import type { Scene } from './scene.js'
import { QUIET_LIMIT } from './settings.js'

/** Milliseconds between two looks at the database. */
const PERIOD = 100

/** Looks at the database again and again, and shows what it sees. */
export class Watch {
  readonly #scene: Scene
  #kill: Kill | undefined
  #quarter = 0

  constructor(scene: Scene) {
    this.#scene = scene
  }

  /** From now on the views know who was killed. */
  killed(kill: Kill): void {
    this.#kill = kill
  }

  /** Goes on until `done` answers true, or until nothing has happened for so long that nothing will. */
  async until(done: (snapshot: Snapshot) => boolean | Promise<boolean>): Promise<Snapshot> {
    const { db, fleet, view, signal, options } = this.#scene
    for (;;) {
      signal.throwIfAborted()
      fleet.assertRunning()
      const snapshot = await readSnapshot(db)
      view.show({ snapshot, jobs: options.jobs, kill: this.#kill, holdfast: !options.withoutHoldfast })
      this.#tellQuarters(snapshot)
      if ((await done(snapshot)) || snapshot.quietMs > QUIET_LIMIT) return snapshot
      await delay(PERIOD)
    }
  }

  #tellQuarters({ finished, workers }: Snapshot): void {
    const { options, view } = this.#scene
    const quarter = Math.floor((4 * finished) / options.jobs)
    if (quarter <= this.#quarter) return
    this.#quarter = quarter
    const held = workers.map(({ worker, inFlight }) => `${worker}: ${inFlight}`).join(', ')
    view.progress(`${finished} of ${options.jobs} finished; held by ${held}`)
  }
}
