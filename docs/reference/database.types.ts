
export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[]

export type Database = {
  
  "public": {
          Tables: {
            "messages": {
                  Row: {
                    "content": string,"created_at": string,"deleted_at": string | null,"id": string,"inserted_at": string,"role": string,"seq": number,"session_id": string,"user_id": string,"username": string
                  }
                  ComputedFields: never
                  Insert: {
                    "content": string,"created_at": string,"deleted_at"?: string | null,"id": string,"inserted_at"?: string,"role": string,"seq": number,"session_id": string,"user_id": string,"username": string
                  }
                  Update: {
                    "content"?: string,"created_at"?: string,"deleted_at"?: string | null,"id"?: string,"inserted_at"?: string,"role"?: string,"seq"?: number,"session_id"?: string,"user_id"?: string,"username"?: string
                  }
                  Relationships: [
                    
                  ]
                },"moderation_log": {
                  Row: {
                    "action": string,"by_user_id": string | null,"created_at": string,"detail": NonNullable<Json>,"id": number,"session_id": string,"user_id": string | null
                  }
                  ComputedFields: never
                  Insert: {
                    "action": string,"by_user_id"?: string | null,"created_at"?: string,"detail"?: NonNullable<Json>,"id"?: never,"session_id": string,"user_id"?: string | null
                  }
                  Update: {
                    "action"?: string,"by_user_id"?: string | null,"created_at"?: string,"detail"?: NonNullable<Json>,"id"?: never,"session_id"?: string,"user_id"?: string | null
                  }
                  Relationships: [
                    {
      foreignKeyName: "moderation_log_session_id_fkey"
      columns: ["session_id"]
isOneToOne: false
      referencedRelation: "sessions"
      referencedColumns: ["id"]
    }
                  ]
                },"profiles": {
                  Row: {
                    "avatar_url": string | null,"created_at": string,"updated_at": string,"user_id": string,"username": string
                  }
                  ComputedFields: never
                  Insert: {
                    "avatar_url"?: string | null,"created_at"?: string,"updated_at"?: string,"user_id": string,"username": string
                  }
                  Update: {
                    "avatar_url"?: string | null,"created_at"?: string,"updated_at"?: string,"user_id"?: string,"username"?: string
                  }
                  Relationships: [
                    
                  ]
                },"queue_items": {
                  Row: {
                    "action": string,"added_by": string,"artist": string | null,"created_at": string,"duration_ms": number | null,"id": string,"rank": number,"seq": number,"session_id": string,"song_id": string,"source_url": string | null,"started_at": string | null,"status": string,"title": string,"version": number
                  }
                  ComputedFields: never
                  Insert: {
                    "action"?: string,"added_by": string,"artist"?: string | null,"created_at"?: string,"duration_ms"?: number | null,"id"?: string,"rank": number,"seq": number,"session_id": string,"song_id": string,"source_url"?: string | null,"started_at"?: string | null,"status"?: string,"title": string,"version"?: number
                  }
                  Update: {
                    "action"?: string,"added_by"?: string,"artist"?: string | null,"created_at"?: string,"duration_ms"?: number | null,"id"?: string,"rank"?: number,"seq"?: number,"session_id"?: string,"song_id"?: string,"source_url"?: string | null,"started_at"?: string | null,"status"?: string,"title"?: string,"version"?: number
                  }
                  Relationships: [
                    {
      foreignKeyName: "queue_items_added_by_fkey"
      columns: ["added_by"]
isOneToOne: false
      referencedRelation: "profiles"
      referencedColumns: ["user_id"]
    },{
      foreignKeyName: "queue_items_session_id_fkey"
      columns: ["session_id"]
isOneToOne: false
      referencedRelation: "sessions"
      referencedColumns: ["id"]
    },{
      foreignKeyName: "queue_items_song_id_fkey"
      columns: ["song_id"]
isOneToOne: false
      referencedRelation: "songs"
      referencedColumns: ["id"]
    }
                  ]
                },"session_clock": {
                  Row: {
                    "bare_frames": number,"bare_rate": number,"budget": number | null,"chat_rate": number,"counted": number,"fixed_tick": boolean,"framed_at": string,"framed_seq": number,"frames": boolean,"last_seq": number,"maturing": number,"maturing_since": string,"occupancy": number,"rate": number,"rate_at": string,"rate_seq": number,"sampling": number,"session_id": string,"tick_ms": number
                  }
                  ComputedFields: never
                  Insert: {
                    "bare_frames"?: number,"bare_rate"?: number,"budget"?: number | null,"chat_rate"?: number,"counted"?: number,"fixed_tick"?: boolean,"framed_at"?: string,"framed_seq"?: number,"frames"?: boolean,"last_seq"?: number,"maturing"?: number,"maturing_since"?: string,"occupancy"?: number,"rate"?: number,"rate_at"?: string,"rate_seq"?: number,"sampling"?: number,"session_id": string,"tick_ms"?: number
                  }
                  Update: {
                    "bare_frames"?: number,"bare_rate"?: number,"budget"?: number | null,"chat_rate"?: number,"counted"?: number,"fixed_tick"?: boolean,"framed_at"?: string,"framed_seq"?: number,"frames"?: boolean,"last_seq"?: number,"maturing"?: number,"maturing_since"?: string,"occupancy"?: number,"rate"?: number,"rate_at"?: string,"rate_seq"?: number,"sampling"?: number,"session_id"?: string,"tick_ms"?: number
                  }
                  Relationships: [
                    {
      foreignKeyName: "session_clock_session_id_fkey"
      columns: ["session_id"]
isOneToOne: true
      referencedRelation: "sessions"
      referencedColumns: ["id"]
    }
                  ]
                },"session_events": {
                  Row: {
                    "created_at": string,"kind": string,"payload": NonNullable<Json>,"seq": number,"session_id": string
                  }
                  ComputedFields: never
                  Insert: {
                    "created_at"?: string,"kind": string,"payload": NonNullable<Json>,"seq": number,"session_id": string
                  }
                  Update: {
                    "created_at"?: string,"kind"?: string,"payload"?: NonNullable<Json>,"seq"?: number,"session_id"?: string
                  }
                  Relationships: [
                    {
      foreignKeyName: "session_events_session_id_fkey"
      columns: ["session_id"]
isOneToOne: false
      referencedRelation: "session_clock"
      referencedColumns: ["session_id"]
    }
                  ]
                },"session_members": {
                  Row: {
                    "banned": boolean,"joined_at": string,"last_spoke_at": string | null,"muted_until": string | null,"role": string,"session_id": string,"user_id": string
                  }
                  ComputedFields: never
                  Insert: {
                    "banned"?: boolean,"joined_at"?: string,"last_spoke_at"?: string | null,"muted_until"?: string | null,"role"?: string,"session_id": string,"user_id": string
                  }
                  Update: {
                    "banned"?: boolean,"joined_at"?: string,"last_spoke_at"?: string | null,"muted_until"?: string | null,"role"?: string,"session_id"?: string,"user_id"?: string
                  }
                  Relationships: [
                    {
      foreignKeyName: "session_members_session_id_fkey"
      columns: ["session_id"]
isOneToOne: false
      referencedRelation: "sessions"
      referencedColumns: ["id"]
    },{
      foreignKeyName: "session_members_user_id_fkey"
      columns: ["user_id"]
isOneToOne: false
      referencedRelation: "profiles"
      referencedColumns: ["user_id"]
    }
                  ]
                },"sessions": {
                  Row: {
                    "dj_id": string,"ended_at": string | null,"id": string,"settings": NonNullable<Json>,"started_at": string,"status": string,"title": string,"visibility": string
                  }
                  ComputedFields: never
                  Insert: {
                    "dj_id": string,"ended_at"?: string | null,"id": string,"settings": NonNullable<Json>,"started_at"?: string,"status"?: string,"title": string,"visibility"?: string
                  }
                  Update: {
                    "dj_id"?: string,"ended_at"?: string | null,"id"?: string,"settings"?: NonNullable<Json>,"started_at"?: string,"status"?: string,"title"?: string,"visibility"?: string
                  }
                  Relationships: [
                    {
      foreignKeyName: "sessions_dj_id_fkey"
      columns: ["dj_id"]
isOneToOne: false
      referencedRelation: "profiles"
      referencedColumns: ["user_id"]
    }
                  ]
                },"song_tallies": {
                  Row: {
                    "down": number,"score": number,"seq": number,"session_id": string,"song_id": string,"up": number
                  }
                  ComputedFields: never
                  Insert: {
                    "down"?: number,"score"?: never,"seq": number,"session_id": string,"song_id": string,"up"?: number
                  }
                  Update: {
                    "down"?: number,"score"?: never,"seq"?: number,"session_id"?: string,"song_id"?: string,"up"?: number
                  }
                  Relationships: [
                    {
      foreignKeyName: "song_tallies_session_id_fkey"
      columns: ["session_id"]
isOneToOne: false
      referencedRelation: "sessions"
      referencedColumns: ["id"]
    },{
      foreignKeyName: "song_tallies_song_id_fkey"
      columns: ["song_id"]
isOneToOne: false
      referencedRelation: "songs"
      referencedColumns: ["id"]
    }
                  ]
                },"songs": {
                  Row: {
                    "added_by": string,"artist": string | null,"created_at": string,"duration_ms": number | null,"fingerprint": string,"id": string,"source_url": string | null,"title": string
                  }
                  ComputedFields: never
                  Insert: {
                    "added_by": string,"artist"?: string | null,"created_at"?: string,"duration_ms"?: number | null,"fingerprint"?: never,"id"?: string,"source_url"?: string | null,"title": string
                  }
                  Update: {
                    "added_by"?: string,"artist"?: string | null,"created_at"?: string,"duration_ms"?: number | null,"fingerprint"?: never,"id"?: string,"source_url"?: string | null,"title"?: string
                  }
                  Relationships: [
                    {
      foreignKeyName: "songs_added_by_fkey"
      columns: ["added_by"]
isOneToOne: false
      referencedRelation: "profiles"
      referencedColumns: ["user_id"]
    }
                  ]
                },"tips": {
                  Row: {
                    "amount": number,"created_at": string,"currency": string,"dj_id": string,"id": string,"key": string,"note": string | null,"provider_ref": string | null,"seq": number | null,"session_id": string,"settled_at": string | null,"status": string,"tipper_id": string,"username": string
                  }
                  ComputedFields: never
                  Insert: {
                    "amount": number,"created_at"?: string,"currency": string,"dj_id": string,"id"?: string,"key": string,"note"?: string | null,"provider_ref"?: string | null,"seq"?: number | null,"session_id": string,"settled_at"?: string | null,"status"?: string,"tipper_id": string,"username": string
                  }
                  Update: {
                    "amount"?: number,"created_at"?: string,"currency"?: string,"dj_id"?: string,"id"?: string,"key"?: string,"note"?: string | null,"provider_ref"?: string | null,"seq"?: number | null,"session_id"?: string,"settled_at"?: string | null,"status"?: string,"tipper_id"?: string,"username"?: string
                  }
                  Relationships: [
                    {
      foreignKeyName: "tips_dj_id_fkey"
      columns: ["dj_id"]
isOneToOne: false
      referencedRelation: "profiles"
      referencedColumns: ["user_id"]
    },{
      foreignKeyName: "tips_session_id_fkey"
      columns: ["session_id"]
isOneToOne: false
      referencedRelation: "sessions"
      referencedColumns: ["id"]
    },{
      foreignKeyName: "tips_tipper_id_fkey"
      columns: ["tipper_id"]
isOneToOne: false
      referencedRelation: "profiles"
      referencedColumns: ["user_id"]
    }
                  ]
                },"votes": {
                  Row: {
                    "created_at": string,"seq": number,"session_id": string,"song_id": string,"tally_down": number,"tally_up": number,"updated_at": string,"user_id": string,"username": string,"value": number
                  }
                  ComputedFields: never
                  Insert: {
                    "created_at"?: string,"seq": number,"session_id": string,"song_id": string,"tally_down": number,"tally_up": number,"updated_at"?: string,"user_id": string,"username": string,"value": number
                  }
                  Update: {
                    "created_at"?: string,"seq"?: number,"session_id"?: string,"song_id"?: string,"tally_down"?: number,"tally_up"?: number,"updated_at"?: string,"user_id"?: string,"username"?: string,"value"?: number
                  }
                  Relationships: [
                    {
      foreignKeyName: "votes_session_id_fkey"
      columns: ["session_id"]
isOneToOne: false
      referencedRelation: "sessions"
      referencedColumns: ["id"]
    },{
      foreignKeyName: "votes_song_id_fkey"
      columns: ["song_id"]
isOneToOne: false
      referencedRelation: "songs"
      referencedColumns: ["id"]
    },{
      foreignKeyName: "votes_user_id_fkey"
      columns: ["user_id"]
isOneToOne: false
      referencedRelation: "profiles"
      referencedColumns: ["user_id"]
    }
                  ]
                }
          }
          Views: {
            [_ in never]: never
          }
          Functions: {
            "advance_queue":
{ Args: { "p_expected_item_id"?: string,"p_key"?: string,"p_session_id": string,"p_skipped"?: boolean }; Returns: Json
                           },
"ban_member":
{ Args: { "p_banned"?: boolean,"p_reason"?: string,"p_session_id": string,"p_user_id": string }; Returns: Json
                           },
"cast_vote":
{ Args: { "p_key": string,"p_session_id": string,"p_song_id": string,"p_value": number }; Returns: Json
                           },
"configure_project":
{ Args: { "p_event_retention_hours"?: number,"p_events_per_second"?: number,"p_frame_max_bytes"?: number,"p_message_retention_days"?: number }; Returns: Json
                           },
"confirm_tip":
{ Args: { "p_provider_ref"?: string,"p_status"?: string,"p_tip_id": string }; Returns: Json
                           },
"create_session":
{ Args: { "p_id"?: string,"p_settings"?: Json,"p_title": string }; Returns: Json
                           },
"delete_message":
{ Args: { "p_message_id": string,"p_session_id": string,"p_user_id"?: string }; Returns: Json
                           },
"dj_leaderboard":
{ Args: { "p_currency": string,"p_limit"?: number }; Returns: Json
                           },
"end_session":
{ Args: { "p_session_id": string }; Returns: Json
                           },
"enqueue_song":
{ Args: { "p_artist"?: string,"p_duration_ms"?: number,"p_key"?: string,"p_session_id": string,"p_song_id"?: string,"p_source_url"?: string,"p_title": string }; Returns: Json
                           },
"events_since":
{ Args: { "p_after_seq": number,"p_limit"?: number,"p_session_id": string }; Returns: Json
                           },
"flush_frame":
{ Args: { "p_session_id": string }; Returns: Json
                           },
"forget_user":
{ Args: { "p_user_id": string }; Returns: Json
                           },
"freeze_chat":
{ Args: { "p_frozen"?: boolean,"p_session_id": string }; Returns: Json
                           },
"heartbeat":
{ Args: { "p_session_id": string }; Returns: Json
                           },
"insert_messages":
{ Args: { "p_messages": Json,"p_session_id": string }; Returns: Json
                           },
"join_session":
{ Args: { "p_session_id": string,"p_username"?: string }; Returns: Json
                           },
"message_history":
{ Args: { "p_before_seq"?: number,"p_limit"?: number,"p_session_id": string }; Returns: Json
                           },
"move_queue_item":
{ Args: { "p_after"?: string,"p_before"?: string,"p_expected_version"?: number,"p_item_id": string,"p_key"?: string,"p_session_id": string }; Returns: Json
                           },
"mute_member":
{ Args: { "p_seconds": number,"p_session_id": string,"p_user_id": string }; Returns: Json
                           },
"remove_queue_item":
{ Args: { "p_expected_version"?: number,"p_item_id": string,"p_key"?: string,"p_session_id": string }; Returns: Json
                           },
"retract_vote":
{ Args: { "p_key": string,"p_session_id": string,"p_song_id": string }; Returns: Json
                           },
"send_reactions":
{ Args: { "p_counts": Json,"p_session_id": string }; Returns: Json
                           },
"send_tip":
{ Args: { "p_amount": number,"p_currency": string,"p_key"?: string,"p_note"?: string,"p_session_id": string }; Returns: Json
                           },
"session_snapshot":
{ Args: { "p_messages"?: number,"p_session_id": string }; Returns: Json
                           },
"set_member_role":
{ Args: { "p_role": string,"p_session_id": string,"p_user_id": string }; Returns: Json
                           },
"set_profile":
{ Args: { "p_avatar_url"?: string,"p_username": string }; Returns: Json
                           },
"set_slow_mode":
{ Args: { "p_seconds": number,"p_session_id": string }; Returns: Json
                           },
"settle_tip_event":
{ Args: { "p_amount": number,"p_currency": string,"p_event_id": string,"p_provider_ref": string,"p_signed_at": number,"p_status": string,"p_tip_id": string }; Returns: Json
                           },
"song_leaderboard":
{ Args: { "p_limit"?: number,"p_session_id"?: string }; Returns: Json
                           },
"update_session":
{ Args: { "p_session_id": string,"p_settings"?: Json,"p_title"?: string }; Returns: Json
                           },
"upkeep":
{ Args: Record<PropertyKey, never>; Returns: Json
                           }
          }
          Enums: {
            [_ in never]: never
          }
          CompositeTypes: {
            [_ in never]: never
          }
        }
}

type DatabaseWithoutInternals = Omit<Database, '__InternalSupabase'>

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, "public">]

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    | keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
        DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])
    : never = never
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
      DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])[TableName] extends {
      Row: infer R
    }
    ? R
    : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
  ? (DefaultSchema["Tables"] & DefaultSchema["Views"])[DefaultSchemaTableNameOrOptions] extends {
      Row: infer R
    }
    ? R
    : never
  : never

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never = never
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Insert: infer I
    }
    ? I
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
  ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
      Insert: infer I
    }
    ? I
    : never
  : never

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never = never
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Update: infer U
    }
    ? U
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
  ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
      Update: infer U
    }
    ? U
    : never
  : never

export type Enums<
  DefaultSchemaEnumNameOrOptions extends
    | keyof DefaultSchema["Enums"]
    | { schema: keyof DatabaseWithoutInternals },
  EnumName extends DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"]
    : never = never
> = DefaultSchemaEnumNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"]
  ? DefaultSchema["Enums"][DefaultSchemaEnumNameOrOptions]
  : never

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    | keyof DefaultSchema["CompositeTypes"]
    | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"]
    : never = never
> = PublicCompositeTypeNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema["CompositeTypes"]
  ? DefaultSchema["CompositeTypes"][PublicCompositeTypeNameOrOptions]
  : never

export const Constants = {
  "public": {
          Enums: {
            
          }
        }
} as const
