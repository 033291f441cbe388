import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../process/run.js'

/** Line of postmaster.pid that holds the key and the id of a segment of System V shared memory. */
const SEGMENT_LINE = 6

/**
 * A killed Postgres leaves its segment of shared memory to its next start. If there is none, the segment stays
 * until the machine restarts, and there can only be so many of them: remove it at once.
 */
export async function releaseMemory(data: string, log: (line: string) => void): Promise<void> {
  const lines = (await readFile(join(data, 'postmaster.pid'), 'utf8')).split('\n')
  const id = lines[SEGMENT_LINE]?.trim().split(/\s+/)[1]
  if (!id) return
  const { ok, output } = await run('ipcrm', ['-m', id])
  if (!ok) log(`shared memory segment ${id} of a killed Postgres stays: ${output}`)
}
