import { setTimeout as delay } from 'node:timers/promises'
import { note } from '../ledger.js'

/** How often each kind of harm comes, once all of them have come. */
const WEIGHTS = { kill: 15, pause: 2, stop: 2, wipe: 1 }

const random = (from, to) => from + Math.random() * (to - from)
const pick = (list) => list[Math.floor(Math.random() * list.length)]

/** Does harm until `signal` aborts, and then waits for what it has begun. Entries stand around each deed. */
export async function doHarm({ fleet, servers, lease, signal, log }) {
  const deeds = {
    async kill({ child }) {
      log(`SIGKILL: worker ${child.pid}`)
      note('killing', { worker: child.pid })
      await child.kill()
      note('killed', { worker: child.pid })
    },
    /** For longer than its lease, so that its jobs are taken from it while it sleeps. */
    async pause(slot) {
      const { child } = slot
      const time = lease + random(500, 2_000)
      log(`SIGSTOP: worker ${child.pid}, for ${(time / 1_000).toFixed(1)} s`)
      note('pausing', { worker: child.pid })
      child.pause()
      await delay(time)
      child.resume()
      note('resumed', { worker: child.pid })
      log(`SIGCONT: worker ${child.pid}`)
      slot.harmed = false
    },
    async stop({ child }) {
      log(`SIGTERM: worker ${child.pid}`)
      note('stopping', { worker: child.pid })
      child.process.kill('SIGTERM')
      const late = await Promise.race([child.exited, delay(20_000, 'late', { ref: false })])
      if (late === 'late') throw new Error(`worker ${child.pid} did not stop. It wrote:\n${child.output}`)
      note('stopped', { worker: child.pid })
    },
    async wipe() {
      log('Redis is wiped')
      note('wiping')
      const succeeded = await servers.wipe()
      note('wiped', { succeeded })
      log('Redis is back, empty')
    },
  }
  const weighted = Object.entries(WEIGHTS).flatMap(([kind, weight]) => Array(weight).fill(kind))
  const deck = ['kill', 'wipe', 'pause', 'stop']
  /** A worker that is paused or stops is away for seconds: one at a time, so that two are left. */
  let away = Promise.resolve()
  let isAway = false
  while (!signal.aborted) {
    const kind = deck.shift() ?? pick(weighted)
    const slot = pick(fleet.unharmed)
    if (kind === 'wipe') await deeds.wipe()
    else if (slot !== undefined) {
      slot.harmed = true
      if (kind === 'kill' || isAway) await deeds.kill(slot)
      else {
        isAway = true
        away = deeds[kind](slot).finally(() => {
          isAway = false
        })
      }
    }
    await delay(random(400, 1_600), undefined, { signal }).catch(() => undefined)
  }
  await away
}
