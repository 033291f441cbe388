import { cp } from 'node:fs/promises'
import { ServiceStartError } from '../errors.js'
import { run } from './run.js'

/**
 * Copies an installation to where the service user can use it. A checkout often lies in a home that only its owner
 * can enter (0700); then root's unprivileged user gets a copy in the servers' own folder.
 */
export async function readableCopy(service: string, original: string, copy: string): Promise<string> {
  await cp(original, copy, { recursive: true, verbatimSymlinks: true })
  const opened = await run('chmod', ['-R', 'a+rX', copy])
  if (!opened.ok) {
    throw new ServiceStartError(service, `cannot open the copy of ${service} in ${copy}: ${opened.output}`)
  }
  return copy
}
