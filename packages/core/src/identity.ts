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

/** Longest id in characters: MySQL's indexes take no longer one of 4 bytes each. */
const MAX_ID = 191

/** What `isStorableId` asks for, in words. */
export const STORABLE_ID = `a string of 1 to ${MAX_ID} characters, well-formed, without NUL, not ending with a space`

/**
 * Whether a value can be an id, a jobRef or the name of a queue. A trailing space would not count on MySQL, which pads
 * when it compares; half a character (a lone surrogate) is stored as U+FFFD, so that two such ids become one.
 */
export const isStorableId = (value: unknown): value is string =>
  typeof value === 'string' &&
  value.length > 0 &&
  value.length <= MAX_ID &&
  !value.endsWith(' ') &&
  isStorableText(value)

/** Whether every database stores a text as it is: no NUL, no half a character. */
export const isStorableText = (text: unknown): text is string =>
  typeof text === 'string' && !text.includes('\0') && !LONE_SURROGATE.test(text)

const LONE_SURROGATE = /\p{Surrogate}/u
