const KEPT = ['PATH', 'TZ', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH']

/** What a server sees of the caller's environment: nothing that changes its settings, like PGOPTIONS. */
export function serverEnv(): Record<string, string> {
  const env: Record<string, string> = { LC_ALL: 'C' }
  for (const name of KEPT) {
    const value = process.env[name]
    if (value !== undefined) env[name] = value
  }
  return env
}
