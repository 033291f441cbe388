import type { AnyDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'
import { expect } from 'vitest'
import { MAX_RECOVERIES, type Registration } from './fleet.js'
import { jobKey } from './ledger-queue.js'

interface Ended {
  readonly task_id: string
  readonly job_ref: string | null
  readonly cause: string
  readonly outcome: string
}

interface Facts {
  /** The full ids of the rows, whoever owns them now. */
  readonly rows: readonly string[]
  readonly history: readonly Ended[]
  readonly quarantine: readonly { readonly task_id: string; readonly reason: string }[]
  readonly crashes: ReadonlyMap<string, number>
  readonly ledger: readonly string[]
  readonly jobs: ReadonlySet<string>
}

/** Holds what the database says against the promises, as often as it is asked. */
export class Promises {
  readonly #db: AnyDatabase
  /** Operations run at once: who took over whom can't be told before the fact. */
  readonly #concurrent: boolean
  #crashes: ReadonlyMap<string, number> = new Map()

  constructor(db: AnyDatabase, concurrent: boolean) {
    this.#db = db
    this.#concurrent = concurrent
  }

  async check(registrations: readonly Registration[]): Promise<void> {
    const facts = await this.#facts()
    for (const registration of registrations) this.#checkOne(registration, registrations, facts)
    this.#checkCrashes(registrations, facts)
    for (const { task_id, reason } of facts.quarantine) expect(reason, task_id).not.toBe('')
    for (const { outcome, task_id } of facts.history) {
      const fine = this.#concurrent
        ? ['requeued', 'quarantined', 'alreadyThere']
        : ['requeued', 'quarantined']
      expect(fine, task_id).toContain(outcome)
    }
  }

  /** Once nothing is in flight: what was recovered last can run. */
  async checkEnd(registrations: readonly Registration[]): Promise<void> {
    await this.check(registrations)
    const { jobs, rows, history } = await this.#facts()
    expect(rows).toEqual([])
    const last = new Map(registrations.map((one) => [jobKey(one.jobRef, one.task.id), one]))
    for (const [ref, { task }] of last) {
      const ends = history.filter(({ task_id }) => task_id === task.fullId)
      if (ends.at(0)?.outcome === 'requeued' || ends.some(({ cause }) => cause === 'retry')) {
        expect(jobs, `${ref} is lost`).toContain(ref)
      }
    }
  }

  /** Exactly one of: in flight, completed, recovered or quarantined, taken over by a later registration. */
  #checkOne(registration: Registration, all: readonly Registration[], facts: Facts): void {
    const { task, nonce, processId, jobRef, completed } = registration
    const rows = facts.rows.filter((id) => id === task.fullId || id.endsWith(`:${task.fullId}`))
    const ends = facts.history.filter(({ task_id, cause }) => {
      const isIt = task_id === task.fullId || task_id.endsWith(`:${task.fullId}`)
      return isIt && cause !== 'retry'
    })
    const fates = [...rows.map(() => 'in flight'), ...ends.map(({ outcome }) => outcome)]
    if (completed) fates.push('completed')
    const newer = all.some(
      (one) =>
        one !== registration && jobRef !== null && one.jobRef === jobRef && this.#follows(registration, one),
    )
    if (fates.length === 0) expect(newer, `${task.fullId} (${jobRef}) is lost`).toBe(true)
    expect(fates.length, `${task.fullId} of ${processId}: ${fates.join(', ')}`).toBeLessThanOrEqual(1)
    const recoveries = facts.ledger.filter((id) => id.split('#', 1)[0]!.endsWith(`${processId}/${nonce}`))
    const requeued = ends.filter(({ outcome }) => outcome === 'requeued').length
    // In two phases it may be runnable before that is written down, or be taken over in between.
    if (this.#concurrent && (fates[0] ?? 'in flight') === 'in flight')
      expect(recoveries.length).toBeLessThanOrEqual(1)
    else expect(recoveries.length, `${task.fullId} (${fates.join(', ')}) was made runnable`).toBe(requeued)
  }

  #follows(one: Registration, other: Registration): boolean {
    return this.#concurrent ? other.durable >= one.begun : other.begun > one.begun
  }

  /** Crash counts never go down, count no crash that wasn't, and nothing runs again more often than is allowed. */
  #checkCrashes(registrations: readonly Registration[], { crashes, history }: Facts): void {
    for (const [ref, before] of this.#crashes) {
      expect(crashes.get(ref), `crash count of ${ref}`).toBeGreaterThanOrEqual(before)
    }
    this.#crashes = crashes
    for (const [ref, count] of crashes) {
      const struck = registrations.filter(
        (one) => jobKey(one.jobRef, one.task.id) === ref && one.struck,
      ).length
      expect(count, `crash count of ${ref}`).toBeLessThanOrEqual(struck)
    }
    const counted = history.filter(
      ({ job_ref, cause, outcome }) => job_ref !== null && cause === 'crash' && outcome !== 'alreadyThere',
    )
    for (const ref of new Set(counted.map(({ job_ref }) => job_ref!))) {
      const ofRef = counted.filter(({ job_ref }) => job_ref === ref)
      expect(ofRef.length, `crashes of ${ref} in the history`).toBeLessThanOrEqual(crashes.get(ref) ?? 0)
      const again = ofRef.filter(({ outcome }) => outcome === 'requeued').length
      expect(again, `recoveries of ${ref}`).toBeLessThanOrEqual(MAX_RECOVERIES)
    }
  }

  async #facts(): Promise<Facts> {
    const db = this.#db
    const [rows, history, quarantine, crashes, ledger, jobs] = await Promise.all([
      sql<{ process_id: string; id: string }>`
        select process_id, id from holdfast_tasks where ended is null`.execute(db),
      sql<Ended>`
        select task_id, job_ref, cause, outcome from holdfast_recoveries where outcome <> 'completed'
        order by recovered_at`.execute(db),
      sql<{ task_id: string; reason: string }>`select task_id, reason from holdfast_quarantine`.execute(db),
      sql<{ job_ref: string; count: unknown }>`select job_ref, count from holdfast_crashes`.execute(db),
      sql<{
        recovery_id: string
      }>`select recovery_id from enqueued where recovery_id not like 'retry:%'`.execute(db),
      sql<{ ref: string }>`select ref from jobs`.execute(db),
    ])
    return {
      rows: rows.rows.map(({ process_id, id }) => `${process_id}/${id}`),
      history: history.rows,
      quarantine: quarantine.rows,
      crashes: new Map(crashes.rows.map(({ job_ref, count }) => [job_ref, Number(count)])),
      ledger: ledger.rows.map(({ recovery_id }) => recovery_id),
      jobs: new Set(jobs.rows.map(({ ref }) => ref)),
    }
  }
}
