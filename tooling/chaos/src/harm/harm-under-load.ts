import { setTimeout as delay } from 'node:timers/promises'
import { until } from '../until.js'
import { doHarm } from './do-harm.js'
import { Fleet } from './fleet.js'
import { Load } from './load.js'
import type { Scene } from './scene.js'
import type { Screen } from './screen.js'

export interface HarmUnderLoadOptions {
  readonly seconds: number
  readonly lease: number
  readonly screen: Screen
}

const WORKERS = 3

/** Milliseconds in which the next job must be answered once nobody does harm any more. */
const PATIENCE = 30_000

/** Does harm for a while once the first job is answered, and then waits for all that are in flight. */
export async function harmUnderLoad(scene: Scene, options: HarmUnderLoadOptions): Promise<void> {
  const { seconds, lease, screen } = options
  const log = (text: string): void => screen.event(text)
  const fleet = new Fleet({ size: WORKERS, startWorker: () => scene.startWorker(), log })
  const load = new Load(scene.width, (order) => scene.answer(order))
  screen.status = () => load.status
  log(`${WORKERS} workers, and ${scene.width} jobs in flight`)

  const enough = new AbortController()
  const giveUp = new AbortController()
  const ordering = load.run(enough.signal, giveUp.signal)
  await Promise.race([ordering, until(() => load.answered > 0, { what: 'the first answer' })])
  const harming = doHarm({ fleet, lease, toAll: scene.harmToAll, signal: enough.signal, log })
  await Promise.race([delay(seconds * 1_000), ordering, harming])
  enough.abort()
  await harming
  log('no more harm; waiting for what is in flight')
  await settle(scene, load, ordering)
  giveUp.abort()
  await ordering
  // What is answered may come back all the same, and run.
  await until(() => scene.idle(), { timeout: PATIENCE, what: 'nothing is in flight' }).catch((error) =>
    log(error.message),
  )
  await fleet.stop()
}

/** Waits for what is in flight, as long as something is answered now and then. */
async function settle(scene: Scene, load: Load, ordering: Promise<void>): Promise<void> {
  let answered = 0
  let since = performance.now()
  while (load.answered < load.ordered && performance.now() - since < PATIENCE) {
    await scene.hurry?.()
    await Promise.race([ordering, delay(1_000)])
    if (load.answered === answered) continue
    answered = load.answered
    since = performance.now()
  }
}
