import assert from 'node:assert/strict'
import { patience } from '@holdfast/chaos'
import type { TaskMonitor } from '@holdfast/core'
import type { Fleet } from '../fleet.js'
import type { HeldJob, TestQueue, Way } from '../setup.js'
import { area, type Suite } from '../suite.js'
import {
  addDeed,
  allHaveBegun,
  deedDone,
  effectsOf,
  endAs,
  hasEnded,
  makeEffects,
  rowsOf,
} from './effects.js'

/** From here on a job is a suspect, which runs alone in its process. */
const SUSPECT = 2

/** Milliseconds. A suspect that waits for itself does so for a minute or longer. */
const AT_ONCE = 20_000

/** What a handler does to its task as its process ends; and handlers that their users have put something around. */
export function ownTaskCutOff<Queue extends TestQueue>(suite: Suite<Queue>, way: Way): void {
  if (way === 'guard') return

  /**
   * A queue elsewhere can't hear of a commit from a process that is gone: a job that it has as active may run again by its
   * own rules.
   */
  async function hasCommitted(fleet: Fleet, monitor: TaskMonitor, job: HeldJob): Promise<void> {
    await fleet.until(async () => {
      await monitor.cleanupOrphanedTasks()
      return (await rowsOf(fleet, job)) === 0
    }, 'what has committed leaves no row')
    assert.equal(await effectsOf(fleet, job), 1, 'effects')
    assert.notEqual(await fleet.state(job), 'failed')
    const { atomicRecovery } = await fleet.capabilities()
    if (way === 'track' && !atomicRecovery) return
    assert.ok(await hasEnded(fleet, job), `it is ${await fleet.state(job)}`)
    assert.equal(fleet.runs(job).length, 1, 'runs')
  }

  area(
    suite,
    `a task that its handler ends, cut off or wrapped (${way})`,
    async (fleet) => {
      await makeEffects(fleet)
      const monitor = await fleet.monitor()
      const stopped = await fleet.worker({ way })
      const toCommit = await addDeed(fleet, 'leaves open')
      // One that returns may be completed by whoever stops, if that is faster than its recovery.
      const toRollBack = await addDeed(fleet, 'leaves open, then throws')
      for (const job of [toCommit, toRollBack]) await deedDone(fleet, job)
      await stopped.stop()
      const worker = await fleet.worker({ way, wrapped: true })
      return { monitor, toCommit, toRollBack, worker }
    },
    (it) => {
      it('in a transaction that a stop leaves open has no second run but after its rollback', async (fleet, arranged) => {
        const { monitor, toCommit, toRollBack } = arranged
        try {
          await monitor.cleanupOrphanedTasks()
          await allHaveBegun(fleet)
          for (const job of [toCommit, toRollBack]) {
            assert.equal(fleet.runs(job).length, 1, 'runs while it is open')
            assert.equal(await rowsOf(fleet, job), 1, 'rows while it is open')
          }
        } finally {
          // Whoever registers such a job again waits for its transaction.
          fleet.openGate(`commit ${toCommit.work.key}`)
          fleet.openGate(`roll back ${toRollBack.work.key}`)
        }
        await fleet.until(async () => {
          await monitor.cleanupOrphanedTasks()
          return fleet.runs(toRollBack).length > 1
        }, 'what rolled back runs again')
        await endAs(fleet, [toRollBack, { runs: 2 }])
        await hasCommitted(fleet, monitor, toCommit)
        assert.deepEqual([...(await fleet.records.crashes()).keys()], [], 'crashes')
      })

      it('behind a wrapper of its user’s has one row and one run', async (fleet) => {
        const job = await fleet.add({ gate: 'wrapped' })
        await fleet.started(job, 1)
        const rows = await rowsOf(fleet, job)
        fleet.openGate('wrapped')
        assert.equal(rows, 1, 'rows')
        await fleet.finished(job)
        await endAs(fleet, [job, { runs: 1 }])
      })

      it('and whose process is killed after the commit has its effects once', async (fleet, arranged) => {
        const { monitor, worker } = arranged
        const job = await addDeed(fleet, 'commits, then stands still')
        await fleet.until(() => fleet.told(job, 'committed').length > 0, 'it has committed')
        await worker.kill()
        await fleet.records.declareDead(worker.processId)
        await fleet.recover(monitor, worker.processId)
        arranged.worker = await fleet.worker({ way, wrapped: true })
        await allHaveBegun(fleet)
        await hasCommitted(fleet, monitor, job)
      })

      it('behind a wrapper of its user’s does not wait for itself as a suspect', async (fleet, {
        worker,
      }) => {
        const { adapter, close } = await fleet.queue.connect()
        await close?.()
        // It is a suspect before anybody takes it. Of one that is tried again an adapter may think otherwise.
        worker.pause()
        const job = await fleet.add({ fails: 1 }, { maxAttempts: 3 })
        await fleet.records.crashed(adapter.name, job.jobRef, SUSPECT)
        worker.resume()
        const begun = performance.now()
        await fleet.finished(job)
        assert.ok(performance.now() - begun < patience(AT_ONCE), 'it has waited')
        await endAs(fleet, [job, { runs: 2 }])
      })
    },
  )
}
