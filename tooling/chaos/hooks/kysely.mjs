// `node --import` this: Kysely is the version that HOLDFAST_TEST_KYSELY names, for every file of the process.
import { register } from 'node:module'

const version = process.env.HOLDFAST_TEST_KYSELY
if (version) register('./kysely-resolve.mjs', import.meta.url, { data: { version } })
