import assert from 'node:assert/strict'
import type { HeldJob, TestQueue, Way } from '../setup.js'
import { area, type Suite } from '../suite.js'
import { BODIES } from './bodies.js'

/** Largest payload that the fleets of this area allow, in bytes. */
const MAX_PAYLOAD = 400_000

interface Returned {
  readonly job: HeldJob
  /** As it was added. */
  readonly fields: Readonly<Record<string, unknown>>
}

/** What comes back is what was lost: its data, and all else that its queue knows of it. */
export function fidelity<Queue extends TestQueue>(suite: Suite<Queue>, way: Way): void {
  const { samples = [] } = suite.options
  const names = [
    ...Object.keys(BODIES).map((body) => `whose body is ${body}`),
    ...samples.map(({ name }) => `with ${name}`),
  ]
  area(
    suite,
    `what comes back (${way})`,
    async (fleet) => {
      const jobs: HeldJob[] = []
      const sample = suite.options.samples ?? []
      for (const body of Object.values(BODIES)) jobs.push(await fleet.add({ gate: 'again', body }))
      for (const { add } of sample) {
        const work = { key: `sample-${jobs.length}`, gate: 'again', body: { of: 'sample' } }
        jobs.push({ ...(await add(fleet.queue, work)), work })
      }
      const returned: Returned[] = []
      for (const job of jobs) returned.push({ job, fields: (await fleet.copies(job))[0]!.fields })
      const monitor = { maxPayloadBytes: MAX_PAYLOAD }
      const { processId } = await fleet.victim(jobs, { way, monitor })
      const { preservesJobId } = await fleet.capabilities()
      const inRows = (await fleet.records.withText(jobs[0]!.work.key)) > 0
      await fleet.recover(await fleet.monitor(monitor), processId)
      const back = new Map<HeldJob, Awaited<ReturnType<typeof fleet.copies>>>()
      for (const job of jobs) back.set(job, await fleet.copies(job))
      fleet.openGate('again')
      await fleet.worker({ way, monitor })
      return {
        returned: new Map(names.map((name, index) => [name, returned[index]!])),
        back,
        monitor,
        inRows,
        preservesJobId,
      }
    },
    (it) => {
      for (const name of names) {
        it(`a job ${name} comes back as it was`, async (fleet, { returned, back, preservesJobId }) => {
          const { job, fields } = returned.get(name)!
          const copies = back.get(job)!
          assert.equal(copies.length, 1, `one job stands for it, not ${copies.length}`)
          const [copy] = copies
          assert.deepEqual(copy!.data, job.work)
          assert.deepEqual({ ...copy!.fields }, { ...fields })
          assert.equal(copy!.state, 'runnable')
          if (preservesJobId) assert.equal(copy!.jobRef, job.jobRef)
          await fleet.started(job, 2)
          const [first, second] = fleet.runs(job)
          assert.deepEqual(first!.body, job.work.body)
          assert.deepEqual(second!.body, job.work.body)
        })
      }

      if (way === 'guard') return
      it('a job too large for a row that has to hold it does not run, and is not lost', async (fleet, {
        monitor,
        inRows,
      }) => {
        assert.ok(monitor.maxPayloadBytes < 500_000)
        const job = await fleet.add({ body: 'x'.repeat(500_000) })
        if (!inRows) return fleet.finished(job)
        const before = await fleet.state(job)
        assert.notEqual(before, undefined)
        const next = await fleet.add()
        await fleet.finished(next)
        assert.notEqual(await fleet.state(job), 'completed')
        assert.deepEqual(fleet.runs(job), [])
      })
    },
  )
}
