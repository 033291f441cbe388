import type { JobOutcome, QueueAdapter } from '../adapter.js'
import { show } from '../check-options.js'
import { AdapterError } from '../errors.js'
import { isStorableId, STORABLE_ID } from '../identity.js'

const KINDS: ReadonlySet<unknown> = new Set<JobOutcome['kind']>([
  ...(['requeued', 'alreadyThere', 'finished', 'superseded', 'exhausted', 'quarantined', 'failed'] as const),
])

/** @throws AdapterError unless there is one outcome per job, each of a kind there is and fit to be stored */
export function checkOutcomes({ name }: QueueAdapter, outcomes: unknown, jobs: number): void {
  if (!Array.isArray(outcomes) || outcomes.length !== jobs) {
    const count = Array.isArray(outcomes) ? outcomes.length : show(outcomes)
    throw new AdapterError(`Adapter ${JSON.stringify(name)} answered ${count} outcomes for ${jobs} jobs.`)
  }
  for (const outcome of outcomes as Partial<Record<string, unknown>>[]) {
    const problem = problemOf(outcome ?? {})
    if (problem !== undefined) {
      throw new AdapterError(`Adapter ${JSON.stringify(name)} answered an outcome whose ${problem}.`)
    }
  }
}

/** @throws AdapterError unless it can be stored */
export function checkJobRef({ name }: QueueAdapter, jobRef: unknown): void {
  if (isStorableId(jobRef)) return
  throw new AdapterError(
    `Adapter ${JSON.stringify(name)} renamed a task to what is no jobRef: ${STORABLE_ID}: ${show(jobRef)}.`,
  )
}

function problemOf({ kind, jobRef, reason }: Partial<Record<string, unknown>>): string | undefined {
  if (!KINDS.has(kind)) return `kind is none: ${show(kind)}`
  if (kind === 'requeued' && jobRef !== null && !isStorableId(jobRef)) {
    return `jobRef must be null or ${STORABLE_ID}: ${show(jobRef)}`
  }
  if (jobRef !== undefined && kind !== 'requeued' && !isStorableId(jobRef)) {
    return `jobRef must be left out or ${STORABLE_ID}: ${show(jobRef)}`
  }
  if (kind === 'exhausted' && (typeof reason !== 'string' || reason === '')) {
    return `reason must say why: ${show(reason)}`
  }
  return undefined
}
