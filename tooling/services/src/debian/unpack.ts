import { access, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { run } from '../process/run.js'
import type { Mirror } from './mirror.js'
import { PrivateApt } from './private-apt.js'

const ABANDONED_AFTER_MS = 60 * 60 * 1000

/**
 * Unpacks a package with all the libraries that it needs into `target`, installing nothing. The work is done under
 * a name of its own and renamed at the end: `target` is complete or not there, and two processes may do it at once.
 */
export async function unpack(name: string, suite: string, mirror: Mirror, target: string): Promise<void> {
  const parent = dirname(target)
  const prefix = `${basename(target)}.partial-`
  await mkdir(parent, { recursive: true })
  await removeAbandoned(parent, prefix)
  const work = await mkdtemp(join(parent, prefix))
  try {
    const apt = await PrivateApt.create(work, mirror, suite)
    const debs = await apt.download(name)
    const root = join(work, 'root')
    for (const deb of await readdir(debs)) {
      const { ok, output } = await run('dpkg', ['-x', join(debs, deb), root])
      if (!ok) throw new Error(`cannot unpack ${deb}: ${output}`)
    }
    await moveInto(root, target)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function moveInto(root: string, target: string): Promise<void> {
  try {
    await rename(root, target)
  } catch (error) {
    // Another process was faster; what it unpacked is as good as ours.
    if (!(await exists(target))) throw error
  }
}

/** What a killed process left behind. */
async function removeAbandoned(parent: string, prefix: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(prefix)) continue
    const folder = join(parent, name)
    const age = Date.now() - (await stat(folder)).mtimeMs
    if (age > ABANDONED_AFTER_MS) await rm(folder, { recursive: true, force: true })
  }
}

export async function exists(file: string): Promise<boolean> {
  try {
    await access(file)
    return true
  } catch {
    // The question is whether we can use it.
    return false
  }
}
