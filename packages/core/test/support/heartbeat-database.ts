// What the heartbeat thread of a holder connects with when it is given a module.
import { type AnyDatabase, childOptions, connect } from '@holdfast/chaos'
import type { HolderOptions } from './holder.js'

export default async (): Promise<AnyDatabase> => connect(childOptions<HolderOptions>().url, 2)
