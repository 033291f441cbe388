import assert from 'node:assert/strict'
import type { HeldJob, Situation, TestQueue, Way } from '../setup.js'
import { area, type Suite } from '../suite.js'

const runsOf = ({ outcome, runs }: Pick<Situation<TestQueue>, 'outcome' | 'runs'>): number =>
  runs ?? (outcome === 'requeued' || outcome === 'alreadyThere' ? 1 : 0)

/** What the queue may still hold of a job, or hold again, when its dead worker is found. */
export function situations<Queue extends TestQueue>(suite: Suite<Queue>, way: Way): void {
  const held: Situation<Queue> = {
    name: 'as its worker left it',
    outcome: 'requeued',
    arrange: async () => undefined,
  }
  const all = [
    held,
    ...(suite.options.situations ?? []).filter(({ ways }) => ways?.includes(way) ?? true),
    held,
  ]
  area(
    suite,
    `a job that is found (${way})`,
    async (fleet) => {
      const jobs: HeldJob[] = []
      for (const _ of all) jobs.push(await fleet.add({ gate: 'again' }))
      const { processId } = await fleet.victim(jobs, { way })
      for (const [index, { arrange }] of all.entries()) await arrange(fleet.queue, jobs[index]!, fleet)
      const before = new Map<HeldJob, number>()
      for (const job of jobs) before.set(job, fleet.runs(job).length)
      await fleet.recover(await fleet.monitor(), processId)
      const outcomes = await fleet.records.recoveries()
      fleet.openGate('again')
      await fleet.worker({ way })
      return { jobs, outcomes, before }
    },
    (it) => {
      it('has its own outcome, not that of another in its batch', async (_, { jobs, outcomes }) => {
        const told = new Map(outcomes.map(({ jobRef, outcome }) => [jobRef, outcome]))
        assert.deepEqual(
          jobs.map(({ jobRef }) => told.get(jobRef)),
          all.map(({ outcome }) => (outcome === 'none' ? undefined : outcome)),
        )
      })

      for (const [index, situation] of all.entries()) {
        const again = situation === held && index > 0 ? ', in the same batch' : ''
        const expected = situation.outcome === 'none' ? [] : [situation.outcome]
        it(`${situation.name}${again} is ${expected[0] ?? 'left as it is'}`, async (fleet, {
          jobs,
          outcomes,
          before,
        }) => {
          const job = jobs[index]!
          const told = outcomes.filter(({ jobRef }) => jobRef === job.jobRef).map(({ outcome }) => outcome)
          assert.deepEqual(told, expected)
          const runs = runsOf(situation)
          if (runs > 0) await fleet.started(job, before.get(job)! + runs)
          else await fleet.finished(await fleet.add()) // Whatever else was runnable has begun by then.
          assert.equal(fleet.runs(job).length, before.get(job)! + runs)
          assert.ok((await fleet.copies(job)).length <= 1)
        })
      }
    },
  )
}
