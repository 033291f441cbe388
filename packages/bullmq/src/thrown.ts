import { inspect } from 'node:util'

/** What a processor threw as BullMQ can take it, which reads its message and stores it: an error with a text. */
export function storableError(thrown: unknown): Error {
  let name: unknown
  let said = thrown
  try {
    const { message, stack } = thrown as Error
    name = (thrown as Error).name
    said = message ?? thrown
    const isText = typeof message === 'string' && (stack === undefined || typeof stack === 'string')
    if (isText && typeof thrown === 'object') return thrown as Error
  } catch {
    // Told as text.
  }
  const error = new Error(`The processor threw no error with a text: ${show(said)}`, { cause: thrown })
  // BullMQ goes by it.
  return typeof name === 'string' && name !== '' ? Object.assign(error, { name }) : error
}

function show(value: unknown): string {
  try {
    return typeof value === 'string' ? value : inspect(value)
  } catch {
    return 'it can’t be shown either'
  }
}

/** Its processor had decided what becomes of the job before it threw. */
export const thrownTooLate = (
  id: string | undefined,
  became: 'completed' | 'released',
  cause: unknown,
): Error =>
  new Error(
    became === 'completed'
      ? `The processor of job ${id} failed after it had ended its task; the job is completed.`
      : `The processor of job ${id} failed after it had given its task back; the job runs again.`,
    { cause },
  )

/** The same of a processor that puts its job back instead. */
export const movedTooLate = (id: string | undefined): Error =>
  new Error(`The processor of job ${id} moved it after it had ended its task; the job is completed.`)
