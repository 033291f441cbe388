import type { DecidedJob, JobOutcome, RecoveryContext } from '@holdfast/core'
import type { Boss } from '../boss.js'
import { existingJobs, lockJobs, setRetryLimits, wakeWorkers } from '../job-sql.js'
import type { ExhaustedPolicy } from '../options.js'
import { payloadOf, type TaskPayload } from '../payloads.js'
import { asBossDatabase, inDatabase, type Run } from '../run.js'
import type { BossSchema } from '../start.js'
import type { BossTables } from '../tables.js'
import { planFor } from './plan.js'
import { keyOf, type Planned, putBack } from './put-back.js'

export interface RecoverParts {
  readonly boss: Boss
  readonly tables: BossTables
  readonly schema: BossSchema
  /** For rows of older versions, which don't say. */
  readonly onExhausted: ExhaustedPolicy
}

/** Carries out the decisions, all in the monitor's transaction. */
export async function recoverJobs(
  parts: RecoverParts,
  decided: readonly DecidedJob[],
  { trx }: RecoveryContext,
): Promise<JobOutcome[]> {
  const run = inDatabase(trx)
  const { tables, schema, onExhausted } = parts
  const payloads = decided.map(({ orphan }) => payloadOf(orphan))
  const rows = new Map(
    (await lockJobs(run, tables, payloads, { wait: false })).map((row) => [keyOf(row), row]),
  )
  const busy = await lockedByOthers(
    run,
    tables,
    payloads.filter((payload) => !rows.has(keyOf(payload))),
  )
  const planned = decided.map((job, index): Planned => {
    const payload = payloads[index]!
    const key = keyOf(payload)
    const plan = busy.has(key)
      ? ({ kind: 'nothing', outcome: isBusy(payload) } as const)
      : planFor(job, payload, rows.get(key), payload.onExhausted ?? onExhausted)
    return { name: payload.name, id: payload.id, plan }
  })
  const refused = await putBack(run, parts, planned)
  const outcomes = planned.map((item, index): JobOutcome => {
    const outcome = refused.get(keyOf(item)) ?? item.plan.outcome
    return outcome.kind === 'requeued' ? { ...outcome, jobRef: decided[index]!.jobRef } : outcome
  })
  await failJobs(
    parts,
    trx,
    run,
    planned.filter((item) => !refused.has(keyOf(item))),
  )
  if (schema.fences) {
    await wakeWorkers(
      run,
      tables,
      payloads.flatMap(({ name }, index) => (outcomes[index]!.kind === 'requeued' ? [name] : [])),
    )
  }
  return outcomes
}

/** Has pg-boss fail jobs by its own rules, dead letters and all. */
async function failJobs(
  { boss, tables }: RecoverParts,
  trx: RecoveryContext['trx'],
  run: Run,
  planned: readonly Planned[],
): Promise<void> {
  const groups = new Map<string, { name: string; error: unknown; ids: string[] }>()
  const limits: { name: string; id: string; retryLimit: number }[] = []
  for (const { name, id, plan } of planned) {
    if (plan.kind !== 'fail') continue
    const key = JSON.stringify([name, plan.error])
    const group = groups.get(key) ?? { name, error: plan.error, ids: [] }
    group.ids.push(id)
    groups.set(key, group)
    const { retryLimit, keptRetryLimit } = plan
    if (retryLimit !== keptRetryLimit) limits.push({ name, id, retryLimit: keptRetryLimit })
  }
  const db = asBossDatabase(trx)
  for (const { name, error, ids } of groups.values()) await boss.fail(name, ids, error, { db })
  await setRetryLimits(run, tables, limits)
}

/** Jobs that are there, but locked: by a statement of pg-boss's, which is over in moments, or by a handler's transaction. */
async function lockedByOthers(
  run: Run,
  tables: BossTables,
  payloads: readonly TaskPayload[],
): Promise<ReadonlySet<string>> {
  if (payloads.length === 0) return new Set()
  return new Set((await existingJobs(run, tables, payloads)).map(keyOf))
}

const isBusy = ({ name, id }: TaskPayload): JobOutcome => ({
  kind: 'failed',
  error: new Error(`Job ${id} of queue ${JSON.stringify(name)} is locked by another transaction just now.`),
})
