import { DatabaseError, type HoldfastError } from './errors.js'

/**
 * Waits for `work` no longer than `ms`. The work itself goes on: a statement that was sent can't be called back.
 *
 * @throws DatabaseError, or `Late`, when the time is over
 */
export async function withTimeout<T>(
  work: Promise<T>,
  ms: number,
  what: string,
  Late: new (message: string) => HoldfastError = DatabaseError,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Late(`No answer within ${Math.round(ms)} ms: ${what}.`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
