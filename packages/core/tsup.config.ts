import { publishedPackage } from '../../tsup.base.js'

/** The heartbeat thread's code is a file of its own, which each build looks for beside itself. */
export default publishedPackage({
  entry: ['src/index.ts', 'src/heartbeat-worker.ts'],
  esbuildOptions(options, { format }) {
    // Else what writes the CommonJS puts a guess there; `start-heartbeat-worker.ts` knows what to do without.
    if (format === 'cjs') options.define = { ...options.define, 'import.meta.url': 'undefined' }
  },
})
