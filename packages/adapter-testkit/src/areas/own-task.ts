import assert from 'node:assert/strict'
import type { HeldJob, TestQueue, Way } from '../setup.js'
import { area, type Suite } from '../suite.js'
import { addDeed, allHaveBegun, deedDone, endAs, hasEnded, makeEffects, rowsOf } from './effects.js'
import { addMany } from './once.js'

/** How many jobs the worker runs at once: all that are to be seen side by side. */
const PLACES = 10

/** Milliseconds. What is told of a handler is told when that has settled. */
const SOON = 10_000

/** What a handler does to the task that it is given: only what has really ended has ended. */
export function ownTask<Queue extends TestQueue>(suite: Suite<Queue>, way: Way): void {
  // There one task stands for all that a worker has.
  if (way === 'guard') return
  area(
    suite,
    `a task that its handler ends (${way})`,
    async (fleet) => {
      await makeEffects(fleet)
      const jobs = {
        rolledBack: await addDeed(fleet, 'rolls back'),
        onLastAttempt: await addDeed(fleet, 'rolls back', { maxAttempts: 1 }),
        unnoticed: await addDeed(fleet, 'rolls back, unnoticed'),
        notCommitted: await addDeed(fleet, 'fails to commit'),
        committed: await addDeed(fleet, 'commits, then throws'),
        twice: await addDeed(fleet, 'completes twice'),
        twiceInOne: await addDeed(fleet, 'completes twice in a transaction'),
        released: await addDeed(fleet, 'releases', { gate: 'released' }),
        releasedThrown: await addDeed(fleet, 'releases, then throws', { gate: 'releasedThrown' }),
        releasedCompleted: await addDeed(fleet, 'releases, then completes'),
      }
      const worker = await fleet.worker({ way, concurrency: PLACES })
      for (const job of Object.values(jobs)) await deedDone(fleet, job)
      return { ...jobs, worker, open: [] as HeldJob[] }
    },
    (it) => {
      it('in a transaction that rolls back has not ended: its job is tried again', async (fleet, arranged) => {
        const { rolledBack, onLastAttempt } = arranged
        await endAs(fleet, [rolledBack, { runs: 2 }], [onLastAttempt, { runs: 1, as: 'failed' }])
      })

      it('in a transaction that rolls back unnoticed ends as its handler does', async (fleet, {
        unnoticed,
      }) => {
        await endAs(fleet, [unnoticed, { runs: 1 }])
      })

      it('in a transaction that fails to commit has not ended: its job is tried again', async (fleet, arranged) => {
        await endAs(fleet, [arranged.notCommitted, { runs: 2 }])
      })

      it('in a transaction that commits has ended, though its handler then throws', async (fleet, {
        committed,
      }) => {
        await endAs(fleet, [committed, { runs: 1, effects: 1 }])
      })

      it('in a transaction that commits has the error told that its handler then throws', async (fleet, {
        committed,
        worker,
      }) => {
        const error = `threw after its commit: ${committed.work.key}`
        await fleet.until(() => worker.output.includes(error), `it is told: ${error}`, SOON)
      })

      it('twice is refused the second end, which changes nothing', async (fleet, arranged) => {
        const { twice, twiceInOne, releasedCompleted } = arranged
        // Within one transaction nobody can know better: it may be accepted or refused there.
        for (const job of [twice, releasedCompleted]) {
          assert.deepEqual(fleet.told(job, 'again'), ['HOLDFAST_TASK_LOST'], job.work.deed)
        }
        await endAs(
          fleet,
          [twice, { runs: 1 }],
          [twiceInOne, { runs: 1, effects: 1 }],
          [releasedCompleted, { runs: 2 }],
        )
      })

      for (const which of ['released', 'releasedThrown'] as const) {
        const then = which === 'released' ? 'returning' : 'throwing'
        it(`by release(), ${then} then, runs once more, beside no other run`, async (fleet, arranged) => {
          const job = arranged[which]
          await fleet.started(job, 2)
          await allHaveBegun(fleet)
          const [state, rows] = [await fleet.state(job), await rowsOf(fleet, job)]
          fleet.openGate(which)
          assert.deepEqual([state, rows], [way === 'track' ? 'active' : state, 1])
          await endAs(fleet, [job, { runs: 2 }])
          assert.equal((await fleet.records.crashes()).get(job.jobRef), undefined)
        })
      }

      // Not beside the others: on MySQL a job that runs again waits for rows that are locked beside its own.
      it('in a transaction that is open still keeps its row, and its job runs nowhere else', async (fleet, {
        open,
      }) => {
        for (let n = 0; n < 2; n++)
          open.push(await addDeed(fleet, 'leaves open'), await addDeed(fleet, 'leaves open, then throws'))
        for (const job of open) await deedDone(fleet, job)
        await allHaveBegun(fleet)
        for (const job of open) {
          if (way === 'track') assert.equal(await fleet.state(job), 'active', job.work.deed)
          else assert.ok(await hasEnded(fleet, job), `in its queue again: ${job.work.deed}`)
          assert.equal(await rowsOf(fleet, job), 1, job.work.deed)
          assert.equal(fleet.runs(job).length, 1, job.work.deed)
        }
      })

      it('in a transaction that commits later has ended, whatever its handler did', async (fleet, {
        open,
      }) => {
        const [returned, thrown] = open.slice(0, 2)
        for (const { work } of [returned!, thrown!]) fleet.openGate(`commit ${work.key}`)
        await endAs(fleet, [returned!, { runs: 1, effects: 1 }], [thrown!, { runs: 1, effects: 1 }])
      })

      it('in a transaction that rolls back later ends as its handler did', async (fleet, { open }) => {
        const [returned, thrown] = open.slice(2)
        for (const { work } of [returned!, thrown!]) fleet.openGate(`roll back ${work.key}`)
        await endAs(fleet, [returned!, { runs: 1 }], [thrown!, { runs: 2 }])
      })

      it('leaves its place to others', async (fleet) => {
        const jobs = await addMany(fleet, PLACES, { gate: 'all' })
        for (const job of jobs) await fleet.started(job, 1)
        fleet.openGate('all')
      })
    },
  )
}
