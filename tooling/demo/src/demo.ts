import { freshDatabase } from '@holdfast/chaos'
import { startServices } from '@holdfast/services'
import type { DemoOptions } from './cli.js'
import { enqueue } from './database/enqueue.js'
import { prepare } from './database/prepare.js'
import { Fleet } from './fleet.js'
import { killOne } from './kill.js'
import { bringBack } from './result/bring-back.js'
import { leaveLocked } from './result/leave-locked.js'
import type { Outcome } from './result/outcome.js'
import type { Scene } from './scene.js'
import { LATENCY } from './settings.js'
import { SlowServer } from './slow-server-process.js'
import type { View } from './ui/view.js'
import { Watch } from './watch.js'

/** The whole demo, from an empty machine to an empty machine. */
export async function runDemo(options: DemoOptions, view: View, signal: AbortSignal): Promise<Outcome> {
  const holdfast = !options.withoutHoldfast
  view.event(holdfast ? 'graphile-worker with Holdfast' : 'plain graphile-worker, without Holdfast')
  await using services = await startServices(['postgres'], { log: (line) => view.event(line) })
  signal.throwIfAborted()
  const postgres = services.get('postgres')
  await using database = await freshDatabase(postgres.url)
  await prepare(database, holdfast)
  view.event(
    postgres.managed
      ? `Postgres is up, a private one on port ${postgres.port}`
      : `a new database on the Postgres of ${postgres.env}`,
  )
  signal.throwIfAborted()
  await using server = await SlowServer.start()
  view.event(`slow HTTP server is up: it takes ${LATENCY.min} to ${LATENCY.max} ms to answer a call`)
  await using fleet = await Fleet.start({ url: database.url, server: server.url, holdfast }, (worker, text) =>
    view.event(`${worker} ${text}`),
  )
  const list = (what: 'name' | 'pid') => fleet.workers.map((worker) => worker[what]).join(', ')
  view.event(`alive: ${list('name')} (pids ${list('pid')})`)
  const scene: Scene = { options, db: database.db, fleet, view, signal }
  signal.throwIfAborted()
  await enqueue(database.db, options.jobs)
  view.event(`${options.jobs} jobs enqueued${holdfast ? ', half of them guard and half hand-off' : ''}`)
  const watch = new Watch(scene)
  const kill = await killOne(scene, watch)
  watch.killed(kill)
  const outcome = holdfast ? await bringBack(scene, watch, kill) : await leaveLocked(scene, watch, kill)
  view.close()
  return outcome
}
