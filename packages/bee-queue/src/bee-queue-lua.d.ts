/** bee-queue's scripts, which it has no types for. */
declare module 'bee-queue/lib/lua/index.js' {
  const lua: {
    /** Teaches Redis the scripts that it doesn't know. */
    buildCache(client: unknown): Promise<unknown>
  }
  export default lua
}
