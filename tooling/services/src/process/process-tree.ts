import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

/**
 * A process and all of its descendants, parents first. Postgres puts its children into sessions of their own, so no
 * process group holds them all.
 */
export async function processTree(root: number): Promise<number[]> {
  const children = new Map<number, number[]>()
  for (const { pid, parent } of await listProcesses()) {
    children.set(parent, [...(children.get(parent) ?? []), pid])
  }
  const tree = [root]
  for (const pid of tree) tree.push(...(children.get(pid) ?? []))
  return tree
}

export function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}

/** SIGSTOP for the tree. The root goes first: from then on it makes no further children. */
export async function freezeTree(root: number): Promise<number[]> {
  signal([root], 'SIGSTOP')
  const tree = await processTree(root)
  signal(tree, 'SIGSTOP')
  return tree
}

/** SIGKILL for the tree; gives the processes that it was sent to. */
export async function killTree(root: number): Promise<number[]> {
  const tree = await freezeTree(root)
  signal(tree, 'SIGKILL')
  return tree
}

/** Whether it runs: a zombie that nobody collected does not. */
export async function isRunning(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  if (process.platform !== 'linux') return true
  return (await readStat(pid))?.state !== 'Z'
}

async function listProcesses(): Promise<{ pid: number; parent: number }[]> {
  if (process.platform !== 'linux') {
    const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid='])
    return stdout
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/).map(Number))
      .map(([pid = 0, parent = 0]) => ({ pid, parent }))
  }
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const stats = await Promise.all(pids.map(async (pid) => ({ pid, stat: await readStat(pid) })))
  return stats.flatMap(({ pid, stat }) => (stat ? [{ pid, parent: stat.parent }] : []))
}

async function readStat(pid: number): Promise<{ state: string; parent: number } | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8')
    // The command's name comes first, in parentheses, and may hold anything.
    const [state = '', parent = '0'] = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state, parent: Number(parent) }
  } catch {
    // Gone since it was listed.
    return undefined
  }
}
