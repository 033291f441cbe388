// Loaded into every worker that chaos.js starts: the ledger has what it asks the model, before it asks.
import { note } from '@holdfast/chaos/harm'

const { fetch } = globalThis
Object.assign(globalThis, {
  fetch: async (url, init) => {
    init.signal.throwIfAborted() // such a run asks for nothing
    note('started', { job: init.body })
    return fetch(url, init)
  },
})
