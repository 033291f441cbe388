import assert from 'node:assert/strict'
import type { TestQueue } from '../setup.js'
import { area, type Suite, wayOf } from '../suite.js'
import { addMany } from './once.js'

const MINUTE = 60_000

/** What an adapter says of itself is so; what it does not say is not so. `atomicRecovery`: see `trouble`. */
export function capabilities<Queue extends TestQueue>(suite: Suite<Queue>): void {
  // Where a queue has to add a job anew, it is so for what it sees as finished.
  const way = wayOf(suite, 'handOff', 'track', 'guard')!
  area(
    suite,
    'a declared capability',
    async (fleet) => {
      const declared = await fleet.capabilities()
      const { processId, jobs } = await fleet.victim(await addMany(fleet, 4, { gate: 'again' }), { way })
      const [late, ...others] = jobs
      const pauses = (jobRef: string | null): boolean => jobRef === late!.jobRef
      const monitor = await fleet.monitor({
        onCrash: ({ jobRef }) => (pauses(jobRef) ? { kind: 'requeue', notBefore: MINUTE } : 'requeue'),
      })
      await fleet.recover(monitor, processId)
      return { late: late!, others, declared, processId }
    },
    (it) => {
      it('delay: a job that shall wait does so in its queue; else its task is kept', async (fleet, arranged) => {
        const { late, declared, processId } = arranged
        const kept = await fleet.records.tasksOf(processId)
        if (declared.delay) {
          assert.equal(await fleet.state(late), 'delayed')
          assert.deepEqual(kept, [])
        } else {
          assert.notEqual(await fleet.state(late), 'runnable')
          assert.deepEqual(
            kept.map(({ jobRef }) => jobRef),
            way === 'guard' ? [null] : [late.jobRef],
          )
        }
      })

      it('delay: a job that shall not wait does not', async (fleet, { others }) => {
        for (const job of others) assert.equal(await fleet.state(job), 'runnable')
      })

      it('preservesJobId: the jobs have their identities still; else they have new ones', async (fleet, arranged) => {
        const { others, declared } = arranged
        const history = new Map((await fleet.records.recoveries()).map((row) => [row.jobRef, row.newJobRef]))
        for (const job of others) {
          const [copy] = await fleet.copies(job)
          assert.equal(copy!.jobRef === job.jobRef, declared.preservesJobId)
          assert.equal(history.get(job.jobRef), copy!.jobRef)
        }
      })
    },
  )
}
