import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'

/** Longest host name kept in a process id, in characters. */
const MAX_HOST = 100

/**
 * A new process id: `hostname:pid:hex`. The random part makes it unique for every incarnation,
 * since host name and pid repeat in containers.
 */
export function newProcessId(host: string = hostname(), pid: number = process.pid): string {
  const clean = host.replace(/[:/]/g, '-').slice(0, MAX_HOST) || 'unknown'
  return `${clean}:${pid}:${randomBytes(8).toString('hex')}`
}

/** `<process id>/<task id>`; a process id never contains a slash, so the first one splits it again. */
export function fullTaskId(processId: string, taskId: string): string {
  return `${processId}/${taskId}`
}

/** The task id, given it or the full id of a task of this process. */
export function taskIdIn(processId: string, id: string): string {
  const prefix = `${processId}/`
  return id.startsWith(prefix) ? id.slice(prefix.length) : id
}

/**
 * Whether a value can be an id, a jobRef or the name of a queue. A trailing space would not count on MySQL, which pads
 * when it compares.
 */
export const isStorableId = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= 191 && /^[^\0]*[^\0 ]$/.test(value)
