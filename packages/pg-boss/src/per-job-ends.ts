import type { BossJob } from './boss.js'
import type { End } from './settle.js'

/** How each job ended, as a handler with `perJobResults` answers: what it leaves out has failed, as for pg-boss. */
export function perJobEnds(jobs: readonly BossJob[], results: unknown): Map<string, End> {
  if (!Array.isArray(results)) {
    const error = new Error(
      'A handler with perJobResults must resolve with a list of { id, status, output }.',
    )
    return new Map(jobs.map(({ id }) => [id, { kind: 'failed', error }]))
  }
  const resultOf = new Map(results.map((result) => [result?.id, result]))
  return new Map(jobs.map(({ id }) => [id, endOf(resultOf.get(id))]))
}

function endOf(result: { readonly status?: unknown; readonly output?: unknown } | undefined): End {
  switch (result?.status) {
    case 'completed':
      return { kind: 'completed', output: result.output }
    case 'failed':
      return { kind: 'failed', error: result.output }
    case 'deadletter':
      return { kind: 'deadLetter', error: result.output }
    default:
      return { kind: 'failed', error: new Error('The handler did not say how this job ended.') }
  }
}
