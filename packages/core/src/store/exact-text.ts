/** A text that was read by `Dialect.exact`, which a driver may answer as bytes. */
export function exactText(stored: unknown): string | null {
  if (stored === null || stored === undefined) return null
  return typeof stored === 'string' ? stored : Buffer.from(stored as Uint8Array).toString('utf8')
}
