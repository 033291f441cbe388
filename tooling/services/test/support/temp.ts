import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished, vi } from 'vitest'

/** A temporary folder of the test's own, so that whatever is left in it, or runs in it, is this test's. */
export function ownTemp(): string {
  const folder = mkdtempSync(join(tmpdir(), 'services-test-'))
  chmodSync(folder, 0o777)
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Makes `folder` the temporary folder of this process for one test. */
export function useTemp(folder: string): void {
  vi.stubEnv('TMPDIR', folder)
  onTestFinished(() => void vi.unstubAllEnvs())
}

/** Files in the folder, and processes that work in it: servers and supervisors have it in their arguments. */
export function leftovers(folder: string): string[] {
  const processes = execFileSync('ps', ['-A', '-o', 'pid=,args='], { encoding: 'utf8' }).split('\n')
  return [...readdirSync(folder), ...processes.filter((line) => line.includes(folder))]
}
