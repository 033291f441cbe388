import assert from 'node:assert/strict'
import { sql } from 'kysely'
import type { Fleet } from '../fleet.js'
import type { AddOptions, Deed, HeldJob } from '../setup.js'

/** Where handlers commit what they do. */
export async function makeEffects({ database }: Fleet): Promise<void> {
  await sql`create table effects (job varchar(64) not null)`.execute(database.db)
}

/** How often its handler has committed. */
export async function effectsOf({ database }: Fleet, { work }: HeldJob): Promise<number> {
  const { rows } = await sql`select job from effects where job = ${work.key}`.execute(database.db)
  return rows.length
}

/** A job whose first run does this to its task. @param gate for further runs to wait for */
export function addDeed(
  fleet: Fleet,
  deed: Deed,
  { gate, maxAttempts = 3 }: AddOptions & { readonly gate?: string } = {},
): Promise<HeldJob> {
  return fleet.add({ deed, ...(gate === undefined ? {} : { gate }) }, { maxAttempts })
}

/** Waits until a job's first run has done its deed. Its handler ends with that. */
export async function deedDone(fleet: Fleet, job: HeldJob): Promise<void> {
  await fleet.until(() => fleet.told(job, 'deed').length > 0, `job ${job.work.key} is given a task`)
  assert.deepEqual(
    fleet.told(job, 'deed'),
    [job.work.deed],
    'the worker’s module has to give its task to `handler`, as the third argument; where an adapter has none for handlers, ' +
      'leave this area out',
  )
  await fleet.until(() => fleet.told(job, 'done').length > 0, `job ${job.work.key}: ${job.work.deed}`)
}

/** Whether the queue sees a job as ended, or has it no more. */
export async function hasEnded(fleet: Fleet, job: HeldJob): Promise<boolean> {
  return [undefined, 'completed', 'failed'].includes(await fleet.state(job))
}

/** How many task rows a job has, under whatever identity. */
export async function rowsOf({ records }: Fleet, { jobRef, work }: HeldJob): Promise<number> {
  const byRef = (await records.tasks()).filter((row) => row.jobRef === jobRef).length
  return Math.max(byRef, await records.withText(work.key))
}

/** Waits until whatever can be run by now has begun. */
export async function allHaveBegun(fleet: Fleet): Promise<void> {
  await fleet.finished(await fleet.add())
}

interface End {
  readonly runs: number
  /** What they have committed. @default 0 */
  readonly effects?: number
  /** As what it stands in its queue, if it is there still. @default 'completed' */
  readonly as?: 'completed' | 'failed'
}

/** Sees jobs end and leave no row, each after so many runs. */
export async function endAs(fleet: Fleet, ...ends: readonly (readonly [HeldJob, End])[]): Promise<void> {
  for (const [job, { runs }] of ends) {
    const { key, deed } = job.work
    await fleet.until(() => fleet.finishes(job).length >= runs - 1, `job ${key} finishes: ${deed}`)
    await fleet.until(
      async () => (await hasEnded(fleet, job)) && (await rowsOf(fleet, job)) === 0,
      `job ${key} ends and leaves no row: ${deed}`,
    )
  }
  await allHaveBegun(fleet)
  for (const [job, { runs, effects = 0, as = 'completed' }] of ends) {
    const { deed } = job.work
    assert.equal(fleet.runs(job).length, runs, `runs: ${deed}`)
    assert.equal(await effectsOf(fleet, job), effects, `effects: ${deed}`)
    assert.notEqual(await fleet.state(job), as === 'completed' ? 'failed' : 'completed', deed)
  }
}
