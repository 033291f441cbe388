import assert from 'node:assert/strict'
import { connect } from '@holdfast/chaos'
import { TaskMonitor } from '@holdfast/core'
import type { Fleet } from '../fleet.js'
import type { TestQueue } from '../setup.js'
import { area, type Suite } from '../suite.js'
import { TIMES } from '../times.js'
import { addMany, runsOnceMore } from './once.js'

/** How many jobs a recoverer has in its hands when it dies. */
const BATCH = 2
/** More writes than a batch takes from its first statement to its last, with any adapter so far. */
const WRITES = 22
/** Enough for each of them to find some left. */
const JOBS = 60

/** Finds a process dead without recovering what it held. */
async function fence(fleet: Fleet, processId: string): Promise<void> {
  const db = connect(fleet.database.url, 2)
  const adapter = Object.freeze({
    name: 'of no queue here',
    capabilities: Object.freeze({ atomicRecovery: false, preservesJobId: true, delay: false }),
    recover: async () => [],
  })
  const logger = { warn: () => undefined, error: () => undefined }
  const monitor = new TaskMonitor({ db, adapters: [adapter], logger, ...TIMES })
  await monitor.start()
  await fleet.until(
    async () => (await monitor.cleanupOrphanedTasks()).fenced.includes(processId),
    `${processId} is found dead`,
  )
  await monitor.stop({ drain: 0 })
  await db.destroy()
}

/** A recoverer that kills itself before its `write`-th write. */
async function dieAtWrite(fleet: Fleet, write: number): Promise<void> {
  const recoverer = await fleet.worker({ idle: true, monitor: { batchSize: BATCH } })
  const lived = await recoverer.sweep(write)
  if (lived) return recoverer.kill()
  const { signal } = await recoverer.exited
  assert.equal(signal, 'SIGKILL', recoverer.output)
}

/** A recoverer may die between any two statements, its own or its adapter's. */
export function crashPoints<Queue extends TestQueue>(suite: Suite<Queue>): void {
  area(
    suite,
    'a recoverer that is killed between any two statements',
    async (fleet) => {
      const { processId, jobs } = await fleet.victim(await addMany(fleet, JOBS, { gate: 'again' }))
      await fence(fleet, processId)
      for (let write = 1; write <= WRITES; write += 2) {
        await Promise.all([dieAtWrite(fleet, write), dieAtWrite(fleet, write + 1)])
      }
      const left = (await fleet.records.tasks()).length
      const monitor = await fleet.monitor()
      await fleet.until(async () => {
        await monitor.cleanupOrphanedTasks()
        return (await fleet.records.tasks()).length === 0
      }, 'all that the dead recoverers left is recovered')
      return { jobs, left }
    },
    (it) => {
      it('had some left at its last death', async (_, { left }) => {
        assert.ok(left > 0)
      })

      it('loses no job and brings none back twice', async (fleet, { jobs }) => {
        await runsOnceMore(fleet, jobs)
      })

      it('counts the crash of each job once', async (fleet) => {
        assert.deepEqual(new Set((await fleet.records.crashes()).values()), new Set([1]))
      })
    },
  )
}
