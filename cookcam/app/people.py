"""Who is here: accounts and profiles, and the way out with everything that is one's own."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from attrs import frozen

from cookcam.app.ground import Ground
from cookcam.app.membership import Membership
from cookcam.app.providers import Providers
from cookcam.features.accounts import routes as account_routes
from cookcam.features.accounts.avatars import Avatars
from cookcam.features.accounts.deletion import routes as erasure_routes
from cookcam.features.accounts.deletion.payments import StripeCanceller
from cookcam.features.accounts.deletion.receipts import Receipts
from cookcam.features.accounts.deletion.service import AccountDeletion
from cookcam.features.accounts.deletion.store import AccountDeletionStore
from cookcam.features.accounts.export import routes as export_routes
from cookcam.features.accounts.export.service import Export
from cookcam.features.accounts.export.store import ExportStore
from cookcam.features.accounts.recovery import routes
from cookcam.features.accounts.recovery.service import Recovery
from cookcam.features.accounts.referrals import routes as referral_routes
from cookcam.features.accounts.referrals.service import Referrals
from cookcam.features.accounts.referrals.store import ReferralStore
from cookcam.features.accounts.service import Accounts, Profiles, PublicCards
from cookcam.features.accounts.store import ProfileStore
from cookcam.features.social.users import routes as user_routes
from cookcam.features.social.users.service import Users
from cookcam.features.social.users.store import UserStore
from cookcam.http import Routes
from cookcam.lifecycle.background import Task


@frozen
class People:
    cards: PublicCards
    profiles: Profiles
    accounts: Accounts
    recovery: Recovery
    avatars: Avatars
    erasure: AccountDeletion
    receipts: Receipts
    export: Export
    referrals: Referrals
    users: Users

    @classmethod
    def of(
        cls,
        ground: Ground,
        providers: Providers,
        membership: Membership,
        close_account: Callable[[UUID], object],
    ) -> People:
        """`close_account` ends the connections of a user who is gone."""
        database, storage = ground.database, providers.storage
        store = ProfileStore(database)
        profiles = Profiles(store, membership.entitlements, membership.xp)
        identity = ground.config.identity
        receipts = Receipts((identity.jwt_secret or identity.service_role_key).reveal())
        return cls(
            cards=PublicCards(store),
            profiles=profiles,
            accounts=Accounts(providers.identity, profiles),
            recovery=Recovery(
                providers.identity, f"{ground.config.server.base_url}/reset-password", ground.now
            ),
            avatars=Avatars(profiles, providers.images, storage),
            erasure=AccountDeletion(
                AccountDeletionStore(database),
                profiles,
                providers.identity,
                storage,
                {"stripe": StripeCanceller(providers.stripe)},
                receipts,
                close_account,
            ),
            receipts=receipts,
            export=Export(ExportStore(database), profiles, storage, ground.now),
            referrals=Referrals(ReferralStore(database), profiles, ground.now),
            users=Users(UserStore(database)),
        )

    def routes(self) -> list[Routes]:
        return [
            account_routes.routes(self.accounts, self.profiles),
            routes.routes(self.recovery),
            account_routes.photo_routes(self.avatars),
            erasure_routes.routes(self.erasure, self.receipts),
            export_routes.routes(self.export),
            referral_routes.routes(self.referrals),
            user_routes.routes(self.users),
        ]

    def background(self) -> list[Task]:
        return [Task("account deletions", self.erasure.run)]
