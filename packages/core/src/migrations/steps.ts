import { init } from './0001-init.js'
import type { Migration } from './migration.js'

/** Every step, in order. */
export const migrations: readonly Migration[] = [init]
